package alert

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mairust/mairust/internal/mailer"
)

// word is a part as people know it.
type word struct{ en, ja, adviceEn, adviceJa string }

// words are the parts that the daemon watches; any other is called by its name.
var words = map[string]word{
	"database": {
		"The database", "データベース",
		"New mail is deferred and waits in Postfix; reading may not work.", "新着メールは保留され、Postfix で待機します。閲覧できない場合があります。",
	},
	"checkpoint": {
		"The database's log", "データベースのログ",
		"Nothing is lost, but the log grows until its disk is full: look at that disk.", "メールは失われませんが、ログが増え続けるとディスクがいっぱいになります。ディスクを確認してください。",
	},
	"storage": {
		"The message store", "メールの保存先",
		"New mail is deferred and waits in Postfix; message bodies may not be readable.", "新着メールは保留され、Postfix で待機します。本文を表示できない場合があります。",
	},
	"disk": {
		"Disk space", "ディスクの空き容量",
		"Make space before new mail is deferred.", "新着メールが保留される前に空き容量を確保してください。",
	},
	"mounts": {
		"A directory of mail or data", "メール・データのディレクトリ",
		"Mount its disk again before a restart.", "再起動する前に、ディスクをマウントし直してください。",
	},
	"deliveries": {
		"The storing of a message", "メールの保存処理",
		"Some mail is deferred: look at the owner and the disk of what is named.", "一部のメールの配送が延期されています。表示された場所の所有者とディスクを確認してください。",
	},
	"sweep": {
		"The comparison of mail and database", "メールとデータベースの照合",
		"What was taken is kept, but nothing is cleaned up, and damaged messages cannot be read before they are put back. What to do is said below.",
		"受信済みのメールは保持されますが、不要なファイルは整理されません。破損したメールは復元するまで閲覧できません。対処方法は下記をご覧ください。",
	},
	"listeners": {
		"A listener", "待ち受けソケット",
		"Clients, perhaps Postfix, cannot connect.", "Postfix などのクライアントが接続できません。",
	},
	"clock": {
		"The clock", "システム時計",
		"Check chrony or another NTP client on the host.", "ホストの chrony などの NTP クライアントを確認してください。",
	},
	"outbound": {
		"The outbound policy", "送信ポリシー",
		"Mail flows, but accounts are judged with less knowledge, and stops and limits may not reach all nodes: see below what is missing.",
		"メールの送信は継続しますが、限られた情報で判定され、停止・制限がすべてのノードに反映されない場合があります。原因は下記をご覧ください。",
	},
	"bounces": {
		"The feed of bounces", "バウンスの取り込み",
		"Bounces are no evidence against stolen accounts until it works.", "復旧するまで、バウンスは不正送信の判定に使われません。",
	},
	"notices": {
		"Notices to administrators", "管理者への通知",
		"Notices about accounts wait, for a day at most, or do not reach all.", "アカウントに関する通知が待機しているか (最長 1 日)、一部の管理者に届いていません。",
	},
	"certificate": {
		"A certificate", "証明書",
		"Renew it; it is read again by itself.", "更新してください。新しい証明書は自動で読み込まれます。",
	},
}

// Knows tells whether a mail about a part has words and advice, in both languages.
func Knows(part string) bool {
	w := words[part]
	return w.en != "" && w.ja != "" && w.adviceEn != "" && w.adviceJa != ""
}

func wordOf(part string) word {
	if w, ok := words[part]; ok {
		return w
	}
	return word{en: part, ja: part}
}

// Mail sends notices by mail. It is a Sink.
type Mail struct {
	mailer *mailer.Mailer
	log    *slog.Logger
}

// NewMail makes a sink.
func NewMail(m *mailer.Mailer, log *slog.Logger) *Mail { return &Mail{mailer: m, log: log} }

// Send sends one mail to all addresses; those that the mail server refuses are logged, and the others are told. An error means that
// nobody was, or with mailer.ErrUnsure, that this is not known.
func (m *Mail) Send(ctx context.Context, n Notice) error {
	refused, err := m.mailer.Send(ctx, compose(n, m.mailer.Hostname()))
	if len(refused) > 0 {
		m.log.Error("some administrators are not told: their addresses are refused", "part", n.Part, "err", refused.String())
	}
	return err
}

// compose writes the mail: English first, then Japanese.
func compose(n Notice, hostname string) mailer.Letter {
	w := wordOf(n.Part)
	if !n.Failing {
		return mailer.Letter{
			ID: n.ID, At: n.At, Subject: fmt.Sprintf("[MaiRust %s] %s: works again", hostname, w.en),
			Text: fmt.Sprintf("%s of MaiRust on %s works again.\n\n%s (%s) は復旧しました。\n", w.en, hostname, w.ja, hostname),
		}
	}
	return mailer.Letter{
		ID: n.ID, At: n.At, Subject: fmt.Sprintf("[MaiRust %s] %s: failing", hostname, w.en),
		Text: fmt.Sprintf("%s of MaiRust on %s has a problem since %s.\n%s\nAnother mail tells when it is over.\n\n"+
			"%s (%s) に問題が発生しています。\n%s\n復旧時に再度お知らせします。\n\n%s\n",
			w.en, hostname, n.Since.UTC().Format(time.RFC3339), w.adviceEn, w.ja, hostname, w.adviceJa, n.Text),
	}
}
