package mail_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mairust/mairust/internal/mail"
)

func BenchmarkSummarize(b *testing.B) {
	for _, bb := range []struct {
		name string
		raw  []byte
	}{
		{"4KB", benchMessage(4 << 10)},
		{"10MB", benchMessage(10 << 20)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := mail.Summarize(bytes.NewReader(bb.raw), mail.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBodyHash(b *testing.B) {
	raw := benchMessage(10 << 20)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		h := mail.NewMessageBodyHash()
		if _, err := h.Write(raw); err != nil {
			b.Fatal(err)
		}
		h.Sum()
	}
}

// benchMessage is a Japanese message with an attachment that makes it about size bytes long.
func benchMessage(size int) []byte {
	var m strings.Builder
	m.WriteString("Received: from mail.example.jp (mail.example.jp [192.0.2.7])\r\n" +
		"\tby mx.example.test (Postfix) with ESMTPS id 4XYZ123abc\r\n\tfor <bob@example.test>; Thu,  1 Jan 2026 09:00:00 +0900 (JST)\r\n" +
		"Subject: =?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=\r\nFrom: =?ISO-2022-JP?B?GyRCMnE1RBsoQg==?= <taro@example.jp>\r\n" +
		"To: bob@example.test\r\nDate: Thu, 1 Jan 2026 09:00:00 +0900 (JST)\r\nMessage-ID: <1@example.jp>\r\nMIME-Version: 1.0\r\n" +
		"DKIM-Signature: v=1; a=rsa-sha256; " + strings.Repeat("b=abcdefghijklmnop\r\n\t", 20) + "x\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_bound\"\r\n\r\n--=_bound\r\nContent-Type: text/plain; charset=ISO-2022-JP\r\n\r\n")
	for range 10 {
		m.WriteString("\x1b$B2q5D;qNA$r$*Aw$j$7$^$9\x1b(B\r\n")
	}
	m.WriteString("--=_bound\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("PDF"), 19)) + "\r\n"
	for m.Len() < size-100 {
		m.WriteString(line)
	}
	m.WriteString("--=_bound--\r\n")
	return []byte(m.String())
}
