package admin

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/store"
)

// tell writes the sentence and the text of an explanation. A nil location is UTC.
func tell(x *wire.OutboundExplanation, language string, location *time.Location) {
	if location == nil {
		location = time.UTC
	}
	t := &teller{x: x, ja: language == "ja", location: location}
	x.Sentence = t.sentence()
	t.head()
	t.factors()
	t.groups()
	t.tail()
	x.Text = t.b.String()
}

// teller writes one explanation in one language.
type teller struct {
	x        *wire.OutboundExplanation
	ja       bool
	location *time.Location
	b        strings.Builder
}

// say chooses the language.
func (t *teller) say(en, ja string) string {
	if t.ja {
		return ja
	}
	return en
}

func (t *teller) line(format string, args ...any) { fmt.Fprintf(&t.b, format+"\n", args...) }

func (t *teller) time(at time.Time) string { return at.In(t.location).Format("2006-01-02 15:04 MST") }

func (t *teller) clock(at time.Time) string { return at.In(t.location).Format("15:04:05") }

// word is the name of something that the engine calls by a key; the key itself when it is not known.
func (t *teller) word(words map[string][2]string, key string) string {
	w, ok := words[key]
	if !ok {
		return key
	}
	return t.say(w[0], w[1])
}

func (t *teller) words(words map[string][2]string, keys []string) string {
	list := make([]string, len(keys))
	for i, key := range keys {
		list[i] = t.word(words, key)
	}
	return strings.Join(list, t.say(", ", "、"))
}

// sentence is the gist: what a person said, or the strongest evidence.
func (t *teller) sentence() string {
	var list []string
	if a := t.x.Account; t.x.Decision == nil && !a.Automatic && a.Act != "" {
		if a.Reason == "" { // it was deleted with all that was kept
			return fmt.Sprintf(t.say("Done by hand by %s. The reason is kept no more.", "%s による操作。理由の記録はもう保存されていません。"), a.By)
		}
		list = append(list, fmt.Sprintf(t.say("Done by hand by %s: %s", "%s による操作: %s"), a.By, a.Reason))
	}
	if l := t.x.Limit; l != nil {
		list = append(list, fmt.Sprintf(t.say("%s recipients, where the limit \"%s\" allows %s.", "宛先 %s 件。「%s」の上限は %s 件です。"),
			number(float64(l.Count)), t.word(reasonWords, l.Reason), number(float64(l.Max))))
	}
	for _, e := range t.x.Evidence {
		if e.Value >= 0.3 && len(list) < 4 {
			list = append(list, t.evidence(e))
		}
	}
	if len(list) == 0 && t.x.Decision == nil && t.x.Policy == "" {
		return t.say("The decision behind it is kept no more.", "この判定の記録はもう保存されていません。")
	}
	if len(list) == 0 {
		return t.say("Nothing unusual was found.", "通常と異なる点は見つかっていません。")
	}
	return strings.Join(list, t.say(" ", ""))
}

// evidence is a sentence about one piece.
func (t *teller) evidence(e wire.OutboundEvidence) string {
	raw, window := quantity(e.Raw, e.Unit), t.window(e.WindowSeconds)
	switch e.Name {
	case "volume":
		if e.Usual <= 0 {
			return fmt.Sprintf(t.say("%s recipients in %s.", "%[2]sで宛先 %[1]s 件。"), raw, window)
		}
		return fmt.Sprintf(t.say("%s recipients in %s; the usual peak of this account is %s.",
			"%[2]sで宛先 %[1]s 件。このアカウントの普段の最大は %[3]s 件です。"), raw, window, quantity(e.Usual, e.Unit))
	case "new":
		return fmt.Sprintf(t.say("%s recipients that it never wrote to before, in %s.", "%[2]sで、初めての宛先が %[1]s 件。"), raw, window)
	case "spam":
		return fmt.Sprintf(t.say("The spam filter's score was %s.", "迷惑メールのスコアは %s でした。"), raw)
	case "campaign":
		return fmt.Sprintf(t.say("The same text went to %s recipients.", "同じ文面を宛先 %s 件に送っています。"), raw)
	case "repeat":
		return t.say("The campaign of the last stop is being sent again.", "前回の停止の原因となった一斉送信が再び始まっています。")
	case "invalid":
		return fmt.Sprintf(t.say("%s of the recipients do not exist.", "宛先の %s は存在しません。"), raw)
	case "newlist":
		return fmt.Sprintf(t.say("%s of the recipients had never been written to.", "宛先の %s は初めての相手です。"), raw)
	case "persistence":
		return fmt.Sprintf(t.say("After the limit had begun to refuse, it tried %s more recipients.", "制限がかかった後も、さらに %s 件の宛先へ送信しようとしました。"), raw)
	case "url":
		return t.say("The spam filter found a link that is on a block list.", "ブロックリストに載っているリンクが含まれていました。")
	case "malware":
		return t.say("The spam filter found malware.", "マルウェアが検出されました。")
	case "place":
		return t.place(e)
	case "strikes":
		return fmt.Sprintf(t.say("There were breaches before (%s).", "過去にも違反があります（%s）。"), raw)
	case "hour":
		return t.say("This account hardly ever sends at this hour.", "このアカウントが普段ほとんど送信しない時間帯です。")
	}
	return e.Name + " " + raw + "."
}

func (t *teller) head() {
	a := t.x.Account
	t.line("%s  %s", a.Account, t.word(levelWords, a.Level))
	if a.Since != nil && a.Level != store.LevelNormal {
		how := t.say("by hand", "手動")
		if a.Automatic {
			how = t.say("automatically", "自動")
		}
		t.line(t.say("since %s, %s, %s", "%s から、%s、%s"), t.time(*a.Since), how, t.until(a))
	}
	if a.By != "" && !a.Automatic {
		t.line(t.say("by %s: %s", "操作者 %s: %s"), a.By, a.Reason)
	}
	if a.Ticket != "" {
		t.line(t.say("ticket %s", "チケット %s"), a.Ticket)
	}
	t.line("%s", t.x.Sentence)
}

func (t *teller) until(a wire.OutboundAccount) string {
	if a.Until == nil {
		return t.say("until somebody releases it", "解除されるまで")
	}
	return fmt.Sprintf(t.say("until %s", "%s まで"), t.time(*a.Until))
}

func (t *teller) factors() {
	x := t.x
	if len(x.Factors) == 0 {
		return
	}
	t.line("")
	t.line(t.say("Score %.2f%s", "スコア %.2f%s"), x.Score, t.thresholds())
	for _, f := range x.Factors {
		t.line("  %s  %.2f  (%.2f × %.2f)", t.word(factorWords, f.Name), f.Share, f.Value, f.Weight)
		for _, e := range x.Evidence {
			if e.Factor == f.Name {
				t.line("    %s", t.measure(e))
			}
		}
	}
	t.list(t.say("Independent kinds of evidence", "独立した裏付け"), t.words(evidenceWords, x.Corroborators))
	t.list(t.say("Not known", "わからないこと"), t.words(unknownWords, x.Unknown))
	t.list(t.say("Missing at the time", "その時点で欠けていたもの"), t.words(degradedWords, x.Degraded))
	if x.ColdStart {
		t.line("%s", t.say("There was too little history to compare with.", "比較できる履歴がまだ少ない状態でした。"))
	}
	t.list(t.say("Country", "送信元の国"), t.country(x.Country))
	if x.Trust != "" {
		t.list(t.say("Trust", "信頼の根拠"), t.word(trustWords, x.Trust))
	}
}

func (t *teller) thresholds() string {
	if t.x.HardAt == 0 {
		return ""
	}
	return fmt.Sprintf(t.say(" (limited from %.2f, stopped from %.2f)", "（制限 %.2f 以上、停止 %.2f 以上）"), t.x.SoftAt, t.x.HardAt)
}

func (t *teller) list(name, text string) {
	if text != "" {
		t.line(t.say("%s: %s", "%s：%s"), name, text)
	}
}

// measure is one line of a factor: what was measured, beside what is usual.
func (t *teller) measure(e wire.OutboundEvidence) string {
	text := t.word(evidenceWords, e.Name) + " " + quantity(e.Raw, e.Unit)
	if e.WindowSeconds > 0 {
		text += " / " + t.window(e.WindowSeconds)
	}
	var beside []string
	if e.Usual > 0 {
		beside = append(beside, t.say("usual ", "普段 ")+quantity(e.Usual, e.Unit))
	}
	if e.Limit > 0 {
		beside = append(beside, fmt.Sprintf(t.say("full evidence from %s", "%s 以上で最大"), quantity(e.Limit, e.Unit)))
	}
	if len(e.Countries) > 0 {
		beside = append(beside, t.countries(e.Countries))
	}
	if len(beside) > 0 {
		text += t.say(" (", "（") + strings.Join(beside, t.say(", ", "、")) + t.say(")", "）")
	}
	return fmt.Sprintf("%s  → %.2f", text, e.Share)
}

func (t *teller) groups() {
	if len(t.x.Groups) == 0 {
		return
	}
	t.line("")
	t.line("%s", t.say("Messages of the hour before and the minute after, grouped by text", "前 1 時間と直後 1 分のメール（文面ごと）"))
	for _, g := range t.x.Groups {
		text := g.Fingerprint
		if text == "" {
			text = t.say("unknown", "不明")
		}
		t.line(t.say("  %d messages to %d recipients, %d of them new, text %s", "  %d 通、宛先 %d 件（うち初めて %d 件）、文面 %s"),
			g.Count, g.Recipients, g.NewRecipients, text)
		for _, m := range g.Messages {
			t.line("    %s", t.message(m))
		}
	}
}

// message is one message in a line. Text that came from outside is quoted.
func (t *teller) message(m wire.OutboundDecision) string {
	spam := "-"
	if m.SpamScore != nil {
		spam = strconv.FormatFloat(*m.SpamScore, 'f', 1, 64)
	}
	return fmt.Sprintf(t.say("%s  %s  from %q at %s  %d recipients  spam %s  %s", "%s  %s  差出人 %q  接続元 %s  宛先 %d  迷惑度 %s  %s"),
		t.clock(m.At), dash(m.QueueID), m.MailFrom, t.client(m), m.Recipients, spam, t.outcome(m))
}

// outcome is what became of a message.
func (t *teller) outcome(m wire.OutboundDecision) string {
	if m.Action == "allow" && m.Messages == 0 {
		return t.say("refused by another check", "ほかの検査により拒否")
	}
	return t.word(actionWords, m.Action)
}

func (t *teller) tail() {
	x := t.x
	if x.Reply != "" || x.Decision != nil || x.Policy != "" {
		t.line("")
	}
	if x.Reply != "" {
		t.line(t.say("The sender saw: %s", "送信者に表示された応答: %s"), x.Reply)
	}
	if d := x.Decision; d != nil {
		t.line(t.say("Decision %s at %s, mode %s, queue id %s", "判定 %s（%s）、モード %s、キュー ID %s"), d.ID, t.time(d.At), d.Mode, dash(d.QueueID))
		if d.Would != "" || d.WouldLevel != "" {
			t.line(t.say("In mode enforce: %s, %s", "enforce モードなら: %s、%s"),
				t.word(actionWords, either(d.Would, d.Action)), t.word(levelWords, either(d.WouldLevel, d.LevelAfter)))
		}
	}
	if x.Policy != "" {
		t.line(t.say("Policy %s", "ポリシー %s"), x.Policy)
	}
}

func dash(text string) string { return either(text, "-") }

func either(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// window is a time for people.
func (t *teller) window(seconds int64) string {
	switch {
	case seconds%3600 == 0 && seconds > 0:
		return fmt.Sprintf(t.say("%d h", "%d 時間"), seconds/3600)
	case seconds%60 == 0 && seconds > 0:
		return fmt.Sprintf(t.say("%d min", "%d 分"), seconds/60)
	case seconds > 0:
		return fmt.Sprintf(t.say("%d s", "%d 秒"), seconds)
	}
	return t.say("all", "全期間")
}

// quantity is a number in its unit.
func quantity(n float64, unit string) string {
	switch unit {
	case "share":
		return strconv.FormatFloat(n*100, 'f', 0, 64) + " %"
	case "score":
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return number(n)
}

// number groups thousands.
func number(n float64) string {
	text := strconv.FormatInt(int64(math.Round(math.Abs(n))), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if n < 0 {
		return "-" + text
	}
	return text
}
