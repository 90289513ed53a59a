package imap

import (
	"strings"
	"testing"
	"time"
)

// FuzzStructure wants no panic, and ranges that lie in one another.
func FuzzStructure(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n")
	f.Add("Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/digest; boundary=\"\"\r\n\r\n--\r\n")
	f.Add("Content-Type: multipart/x; boundary=a\n\n--a\n--ab--\n--a--")
	f.Fuzz(func(t *testing.T, raw string) {
		root, err := readStructure(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		checkPart(t, root, 0, int64(len(raw)))
		_ = root.appendBody(nil, true)
		_ = root.appendBody(nil, false)
		if root.bytes() < 0 {
			t.Fatal("negative size")
		}
	})
}

func checkPart(t *testing.T, p *part, first, end int64) {
	t.Helper()
	if p.header < first || p.body < p.header || p.end < p.body || p.end > end || p.lines < 0 {
		t.Fatalf("part %d %d %d (%d lines) is not inside %d %d", p.header, p.body, p.end, p.lines, first, end)
	}
	if p.kind == message && len(p.children) != 1 {
		t.Fatal("an attached message without a message")
	}
	for _, child := range p.children {
		checkPart(t, child, p.body, p.end)
	}
}

// FuzzCommand wants no panic from any parser of commands.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		"1:*,3 (UID FLAGS BODY.PEEK[1.2.HEADER.FIELDS (\"a\" {1}\r\nb)]<0.10>) (CHANGEDSINCE 3 VANISHED)", "OR (SEEN UNSEEN) NOT FROM {1}\r\nx 1:3",
		"RETURN (MIN) CHARSET utf-8 SUBJECT x SINCE 1-Jan-2020", "(SUBSCRIBED) \"\" (\"*\" %) RETURN (STATUS (MESSAGES))", "INBOX (QRESYNC (1 2 1:3 (1 2)))",
		"&MEI- \"a\\\"b\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		p := func() *parser { return &parser{b: line} }
		q := p()
		q.numSet()
		q.sp()
		q.fetchRequest()
		var l listing
		q = p()
		l.readNames(q)
		q.statusItems()
		p().mailbox()
		c := &conn{view: &view{snap: &snapshot{}}, qresync: true}
		q = p()
		q.mailbox()
		_, _ = c.selectOptions(q)
		s := &searcher{parser: p(), c: c, now: time.Unix(0, 0), decode: func(s string) string { return s }}
		if _, err := s.prefix(); err == nil {
			if k := s.keys(); s.err == nil {
				k(&candidate{view: c.view})
			}
		}
		if name, ok := decodeUTF7(line); ok {
			if again, ok := decodeUTF7(encodeUTF7(name)); !ok || again != name {
				t.Fatalf("%q became %q", name, again)
			}
		}
	})
}

// FuzzHeader wants no panic, and strings that can be written.
func FuzzHeader(f *testing.F) {
	f.Add("From: \"A\" <a@b.test>, G: c@d.test;\r\nTo: (x) @ <\r\nSubject: x\r\n y\r\nContent-Type: a/b; c*0*=d'e'%20; c*1=f; =g\r\n\r\n")
	f.Fuzz(func(_ *testing.T, raw string) {
		fields := splitHeader(raw)
		_ = readEnvelope(fields).append(nil)
		_ = readMIME(fields)
		_ = (&section{text: "HEADER.FIELDS", fields: []string{"From"}}).pick(raw)
	})
}
