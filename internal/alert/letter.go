package alert

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"time"
)

// word is a part as people know it.
type word struct{ en, ja, adviceEn, adviceJa string }

// words are the parts that the daemon watches; any other is called by its name.
var words = map[string]word{
	"database": {
		"The database", "データベース",
		"New mail is deferred and waits in Postfix; reading may not work.", "新着メールは保留され、Postfix で待機します。閲覧できない場合があります。",
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
	"listeners": {
		"A listener", "待ち受けソケット",
		"Clients, perhaps Postfix, cannot connect.", "Postfix などのクライアントが接続できません。",
	},
	"clock": {
		"The clock", "システム時計",
		"Check chrony or another NTP client on the host.", "ホストの chrony などの NTP クライアントを確認してください。",
	},
	"certificate": {
		"A certificate", "証明書",
		"Renew it; it is read again by itself.", "更新してください。新しい証明書は自動で読み込まれます。",
	},
}

func wordOf(part string) word {
	if w, ok := words[part]; ok {
		return w
	}
	return word{en: part, ja: part}
}

// compose writes the mail: plain text, English first, then Japanese.
func (s *SMTP) compose(n Notice) []byte {
	w := wordOf(n.Part)
	subject := fmt.Sprintf("[MaiRust %s] %s: works again", s.hostname, w.en)
	text := fmt.Sprintf("%s of MaiRust on %s works again.\n\n%s (%s) は復旧しました。\n", w.en, s.hostname, w.ja, s.hostname)
	if n.Failing {
		subject = fmt.Sprintf("[MaiRust %s] %s: failing", s.hostname, w.en)
		text = fmt.Sprintf("%s of MaiRust on %s has a problem since %s.\n%s\nAnother mail tells when it is over.\n\n"+
			"%s (%s) に問題が発生しています。\n%s\n復旧時に再度お知らせします。\n\n%s\n",
			w.en, s.hostname, n.Since.UTC().Format(time.RFC3339), w.adviceEn, w.ja, s.hostname, w.adviceJa, n.Text)
	}
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", "<" + s.options.From + ">"},
		{"To", "<" + strings.Join(s.options.To, ">, <") + ">"},
		{"Subject", subject},
		{"Date", n.At.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + rand.Text() + "@" + s.hostname + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's program is to answer
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = body.Write([]byte(text)) // a Buffer takes everything
	_ = body.Close()
	return b.Bytes()
}
