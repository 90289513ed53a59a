package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

// writer writes notices for people.
type writer struct {
	language string
	hostname string
	link     func(account string) string
}

// both is a text in English and Japanese.
type both struct{ en, ja string }

func (w writer) in(t both) string {
	if w.language == "ja" {
		return t.ja
	}
	return t.en
}

// texts are a headline for each kind, in which %s is the account or domain, and what it means.
var texts = map[Kind]struct{ headline, shadow, meaning both }{
	Suspended: {
		both{"Sending stopped: %s", "送信を停止しました: %s"},
		both{"Sending would have been stopped: %s", "送信停止に相当する状態です: %s"},
		both{"The account sends in a way that points to abuse. Every message it tries to send is refused; receiving and reading go on. If it was stolen, change the password before you release it.",
			"不正利用の疑いがある送信を検知しました。このアカウントからの送信はすべて拒否されます。受信と閲覧は引き続き利用できます。アカウントが乗っ取られている場合は、パスワードを変更してから解除してください。"},
	},
	SoftLimit: {
		both{"Sending slowed down: %s", "送信数を制限しました: %s"},
		both{"Sending would have been slowed down: %s", "送信数の制限に相当する状態です: %s"},
		both{"The account sends more than usual, or in an unusual way. It has a limit an hour; what is beyond it is to be sent again later.",
			"普段より多い、または普段と異なる送信を検知しました。1 時間あたりの送信数が制限され、上限を超えた分は後で再送信が必要です。"},
	},
	Uncorroborated: {
		both{"Sending slowed down, look at it: %s", "送信数を制限しました(要確認): %s"},
		both{"Sending would have been slowed down, look at it: %s", "送信数の制限に相当する状態です(要確認): %s"},
		both{"The score is high enough for a stop, but on one kind of evidence only, so the account is slowed down. Please decide whether it is abuse.",
			"スコアは送信停止の水準に達していますが、根拠が 1 種類のみのため、送信数の制限にとどめています。不正利用かどうかをご確認ください。"},
	},
	Reenabled: {
		both{"Stop has ended, sending is slowed down: %s", "停止期間が終了し、送信数の制限に移行しました: %s"}, both{},
		both{"The time of the stop is over. The account may send again, with a limit an hour.", "停止期間が終了しました。1 時間あたりの上限付きで送信できます。"},
	},
	Normal: {
		both{"Sending is back to normal: %s", "送信制限を終了しました: %s"}, both{},
		both{"Nothing unusual was seen for long enough.", "一定時間、異常な送信がなかったため、通常の状態に戻りました。"},
	},
	SuspendedByHand: {
		both{"Sending stopped by an administrator: %s", "管理者が送信を停止しました: %s"}, both{},
		both{"Every message the account tries to send is refused; receiving and reading go on.", "このアカウントからの送信はすべて拒否されます。受信と閲覧は引き続き利用できます。"},
	},
	LimitedByHand: {
		both{"Sending slowed down by an administrator: %s", "管理者が送信数を制限しました: %s"}, both{},
		both{"The account has a limit an hour.", "1 時間あたりの送信数が制限されます。"},
	},
	Released: {
		both{"Released, the account may send again: %s", "送信停止・制限を解除しました: %s"}, both{},
		both{"What happened so far is forgiven once; the same again stops the account again.", "これまでの送信は一度だけ不問とします。同じ送信が繰り返された場合は、再び停止されます。"},
	},
	DomainSuspended: {
		both{"Sending of a whole domain stopped: %s", "ドメイン全体の送信を停止しました: %s"}, both{},
		both{"Every message that an account of the domain tries to send is refused.", "このドメインのすべてのアカウントからの送信が拒否されます。"},
	},
	DomainReleased: {
		both{"Domain may send again: %s", "ドメイン全体の送信停止を解除しました: %s"}, both{},
		both{"Accounts that are stopped by themselves remain so.", "個別に停止されているアカウントは、停止されたままです。"},
	},
	ModeChanged: {
		both{"Outbound mode changed by an administrator: %s", "管理者が送信監視のモードを変更しました: %s"}, both{}, both{}, // see modes
	},
	ProfileSet: {
		both{"Bulk sender changed by an administrator: %s", "管理者が一括送信プロファイルを変更しました: %s"}, both{},
		both{"Up to its rate the accounts are exempt from the plain limits. They are never exempt from a stop.",
			"登録されたアカウントは、上限に達するまで通常の送信数制限の対象外です。送信停止の対象からは外れません。"},
	},
	ProfileDeleted: {
		both{"Bulk sender deleted by an administrator: %s", "管理者が一括送信プロファイルを削除しました: %s"}, both{},
		both{"The plain limits hold for its accounts again.", "登録されていたアカウントには、再び通常の送信数制限が適用されます。"},
	},
}

// modes are what it means that a mode holds now.
var modes = map[string]both{
	"off": {
		"Nothing is judged, and nothing holds: not even a stop by hand. A stolen account is not stopped.",
		"判定を行わず、手動の停止も含めて何も適用されません。乗っ取られたアカウントも停止されません。",
	},
	"shadow": {
		"Automatic decisions are recorded and do nothing: a stolen account is not stopped. Stops by hand hold.",
		"自動判定は記録のみで、実際の制限は行いません。乗っ取られたアカウントも自動では停止されません。手動の停止は有効です。",
	},
	"enforce": {"Automatic decisions take effect: accounts are slowed down and stopped.", "自動判定が実際に適用され、アカウントの送信制限や停止が行われます。"},
}

// meaning says what follows from it.
func (w writer) meaning(m message) string {
	if Kind(m.Kind) == ModeChanged {
		return w.in(modes[m.facts.Mode])
	}
	return w.in(texts[Kind(m.Kind)].meaning)
}

// subject is what it is about.
func (w writer) subject(m message) string {
	f := m.facts
	subject := shown(m.account())
	switch {
	case f.Profile != "":
		subject = shown(f.Profile) + " (" + shown(f.Tenant) + ")"
	case f.Tenant != "":
		subject = fmt.Sprintf(w.in(both{"the whole tenant %s", "テナント %s 全体"}), shown(f.Tenant))
	}
	if change := w.modes(f); change != "" {
		subject += ": " + change
	}
	return subject
}

func (w writer) modes(f Facts) string {
	if f.ModeBefore == "" || f.ModeBefore == f.Mode {
		return shown(f.Mode)
	}
	return shown(f.ModeBefore) + " → " + shown(f.Mode)
}

// maxShown bounds what a notice shows of anything that a person or a client chose, in bytes.
const maxShown = 500

// shown is a text for one line of a notice.
func shown(text string) string {
	return strings.Join(strings.FieldsFunc(mail.Clean(text, maxShown), func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), " ")
}

// headline says in one line what happened.
func (w writer) headline(m message) string {
	t, ok := texts[Kind(m.Kind)]
	if !ok {
		return shown(m.Kind) + ": " + w.subject(m)
	}
	if line := w.in(t.shadow); m.facts.Shadow && line != "" {
		return fmt.Sprintf(line, w.subject(m))
	}
	return fmt.Sprintf(w.in(t.headline), w.subject(m))
}

// text says all that is known, in lines.
func (w writer) text(m message) string {
	var b strings.Builder
	line := func(label both, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", w.in(label), value)
		}
	}
	f := m.facts
	switch {
	case f.Shadow:
		b.WriteString(w.in(both{"Mode is shadow: nothing was done, mail goes on.", "shadow モードのため、実際の制限は行っていません。"}) + "\n\n")
	default:
		b.WriteString(w.meaning(m) + "\n\n")
	}
	line(both{"Account", "対象"}, shown(m.account()))
	line(both{"Tenant", "テナント"}, shown(f.Tenant))
	line(both{"Bulk sender", "一括送信プロファイル"}, shown(f.Profile))
	line(both{"Rate", "上限"}, shown(f.MaxRate))
	if f.ProfileAccounts > 0 {
		line(both{"Accounts", "アカウント数"}, fmt.Sprint(f.ProfileAccounts))
	}
	line(both{"Mode", "モード"}, w.modes(f))
	line(both{"Time", "日時"}, m.At.UTC().Format(time.RFC3339))
	line(both{"State", "状態"}, w.levels(f))
	line(both{"Until", "期限"}, w.until(f))
	if f.ScoreMicro > 0 {
		line(both{"Score", "スコア"}, fmt.Sprintf("%.2f", float64(f.ScoreMicro)/1e6))
	}
	line(both{"Recipients", "宛先数"}, w.counted(f.Counts.RecipientsHour, f.Counts.RecipientsDay))
	line(both{"New recipients", "新規宛先数"}, w.counted(f.Counts.NewRecipientsHour, f.Counts.NewRecipientsDay))
	line(both{"Messages", "メール数"}, w.counted(f.Counts.MessagesHour, f.Counts.MessagesDay))
	line(both{"Reason", "理由"}, shown(f.Reason))
	line(both{"By", "操作者"}, shown(f.By))
	if m.Merged > 0 {
		line(both{"Earlier notices that this one stands for", "この通知にまとめられた件数"}, fmt.Sprint(m.Merged))
	}
	line(both{"Details", "詳細"}, w.page(m))
	line(both{"Installation", "サーバー"}, w.hostname)
	return b.String()
}

func (w writer) counted(hour, day int64) string {
	if hour == 0 && day == 0 {
		return ""
	}
	return fmt.Sprintf(w.in(both{"%d in the last hour, %d in 24 hours", "直近 1 時間 %d 件、24 時間 %d 件"}), hour, day)
}

func (w writer) until(f Facts) string {
	if f.Until.IsZero() {
		return ""
	}
	return f.Until.UTC().Format(time.RFC3339)
}

func (w writer) levels(f Facts) string {
	names := map[string]both{
		"normal": {"normal", "通常"}, "soft_limit": {"slowed down", "送信数制限"}, "hard_limit": {"stopped", "停止"},
	}
	name := func(level string) string {
		if t, ok := names[level]; ok {
			return w.in(t)
		}
		return shown(level)
	}
	switch {
	case f.LevelAfter == "":
		return ""
	case f.LevelBefore == "" || f.LevelBefore == f.LevelAfter:
		return name(f.LevelAfter)
	default:
		return name(f.LevelBefore) + " → " + name(f.LevelAfter)
	}
}

func (w writer) page(m message) string {
	account := m.account()
	if w.link == nil || account == "" || strings.HasPrefix(account, "@") {
		return ""
	}
	return w.link(account)
}
