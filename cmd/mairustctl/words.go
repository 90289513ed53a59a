package main

// words are the headers and values of tables: English and Japanese.
var words = map[string][2]string{
	"account":          {"ACCOUNT", "アカウント"},
	"level":            {"LEVEL", "状態"},
	"since":            {"SINCE", "開始"},
	"until":            {"UNTIL", "終了"},
	"by":               {"BY", "操作者"},
	"reason":           {"REASON", "理由"},
	"ticket":           {"TICKET", "チケット"},
	"tenant":           {"TENANT", "テナント"},
	"mode":             {"MODE", "モード"},
	"cap":              {"CAP/H", "上限/時"},
	"sent":             {"LAST SENT", "最終送信"},
	"reply":            {"REPLY", "応答"},
	"domain_stop":      {"DOMAIN STOP", "ドメイン停止"},
	"profile":          {"PROFILE", "プロファイル"},
	"decision":         {"DECISION", "判定"},
	"revision":         {"REVISION", "版"},
	"window":           {"WINDOW", "期間"},
	"messages":         {"MESSAGES", "通数"},
	"recipients":       {"RECIPIENTS", "宛先"},
	"new":              {"NEW", "初めて"},
	"refused":          {"REFUSED", "宛先拒否"},
	"bounced":          {"BOUNCED", "不達"},
	"limited":          {"DEFERRED", "延期"},
	"stopped":          {"STOPPED", "停止"},
	"at":               {"AT", "日時"},
	"act":              {"ACT", "操作"},
	"action":           {"ACTION", "結果"},
	"score":            {"SCORE", "スコア"},
	"client":           {"CLIENT", "接続元"},
	"queue_id":         {"QUEUE ID", "キュー ID"},
	"from":             {"FROM", "差出人"},
	"id":               {"ID", "ID"},
	"accounts":         {"ACCOUNTS", "アカウント"},
	"max_rate":         {"MAX RATE", "上限"},
	"source":           {"SOURCE", "定義元"},
	"description":      {"DESCRIPTION", "説明"},
	"domain":           {"DOMAIN", "ドメイン"},
	"hash":             {"POLICY", "ポリシー"},
	"would":            {"IN ENFORCE", "enforce なら"},
	"normal":           {"normal", "正常"},
	"soft_limit":       {"limited", "制限中"},
	"hard_limit":       {"STOPPED", "停止中"},
	"hour":             {"last hour", "直近 1 時間"},
	"day":              {"last 24 hours", "直近 24 時間"},
	"automatic":        {"automatic", "自動"},
	"never":            {"released by hand", "手動解除まで"},
	"suspend":          {"suspend", "停止"},
	"release":          {"release", "解除"},
	"extend":           {"extend", "延長"},
	"limit":            {"limit", "制限"},
	"auto_suspend":     {"suspend (automatic)", "停止（自動）"},
	"auto_limit":       {"limit (automatic)", "制限（自動）"},
	"auto_reenable":    {"to the limit (by time)", "制限へ（時間経過）"},
	"recover":          {"back to normal", "正常へ復帰"},
	"config":           {"configuration", "設定ファイル"},
	"database":         {"database", "データベース"},
	"allow":            {"sent", "送信"},
	"refuse_rate":      {"deferred", "延期"},
	"refuse_suspended": {"refused", "拒否"},
	"hold":             {"held", "保留"},
}

// header is a word of the catalogue in the printer's language; the word itself when it is not in there.
func (p printer) header(word string) string {
	w, ok := words[word]
	if !ok {
		return word
	}
	return p.say(w[0], w[1])
}
