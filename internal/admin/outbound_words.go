package admin

// The words for what the engine names by a key: English and Japanese.
var (
	levelWords = map[string][2]string{
		"normal":     {"normal", "正常"},
		"soft_limit": {"SENDING LIMITED", "送信制限中"},
		"hard_limit": {"SENDING STOPPED", "送信停止中"},
	}
	actionWords = map[string][2]string{
		"allow":            {"sent", "送信"},
		"refuse_rate":      {"deferred (rate)", "制限により延期"},
		"refuse_suspended": {"refused (stopped)", "停止により拒否"},
		"hold":             {"held", "保留"},
	}
	factorWords = map[string][2]string{
		"rate":    {"rate", "送信量"},
		"content": {"content", "内容"},
		"history": {"history", "経歴"},
	}
	evidenceWords = map[string][2]string{
		"volume":      {"recipients", "宛先数"},
		"new":         {"new recipients", "初めての宛先"},
		"spam":        {"spam score", "迷惑メールのスコア"},
		"campaign":    {"same text", "同じ文面"},
		"invalid":     {"recipients that do not exist", "存在しない宛先"},
		"newlist":     {"share of new recipients", "初めての宛先の割合"},
		"persistence": {"goes on after the limit", "制限後も続く送信"},
		"url":         {"listed link", "ブロックリストのリンク"},
		"malware":     {"malware", "マルウェア"},
		"place":       {"new place", "新しい送信元"},
		"strikes":     {"breaches before", "過去の違反"},
		"hour":        {"unusual hour", "普段と違う時間帯"},
		"repeat":      {"the same campaign again", "同じ一斉送信の再発"},
	}
	unknownWords = map[string][2]string{
		"place":   {"where it was sent from", "送信元の場所"},
		"spam":    {"what the spam filter thinks", "迷惑メールの判定"},
		"bounces": {"how many recipients bounce", "不達の件数"},
		"new":     {"which recipients are new", "初めての宛先かどうか"},
	}
	degradedWords = map[string][2]string{
		"filter":  {"the spam filter", "迷惑メールフィルター"},
		"store":   {"the shared state", "共有された状態"},
		"bounces": {"the feed of bounces", "不達の通知"},
	}
	trustWords = map[string][2]string{
		"home":  {"a place that has been used for days", "以前から使われている場所"},
		"away":  {"a place that is neither new nor known for days", "新しくはないが、よく知られてもいない場所"},
		"new":   {"a new place", "初めての場所"},
		"doubt": {"none, since the content speaks against the account", "なし（内容がアカウントに不利）"},
		"cold":  {"too little history to say", "履歴が少なく判断できない"},
	}
	reasonWords = map[string][2]string{
		"suspended":        {"stopped", "送信停止"},
		"domain_suspended": {"domain stopped", "ドメインの送信停止"},
		"soft_limit":       {"soft limit", "送信制限"},
		"user_per_hour":    {"per account and hour", "アカウントの 1 時間あたり"},
		"user_per_day":     {"per account and day", "アカウントの 1 日あたり"},
		"domain_per_hour":  {"per domain and hour", "ドメインの 1 時間あたり"},
		"tenant_per_hour":  {"per tenant and hour", "テナントの 1 時間あたり"},
		"profile_max_rate": {"rate of the bulk profile", "一斉送信プロファイルの上限"},
	}
)
