package mail_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

func TestPersonsAreReadAsPeopleWriteThem(t *testing.T) {
	one := func(name, address string) []mail.Person { return []mail.Person{{Name: name, Address: address}} }
	for in, want := range map[string][]mail.Person{
		"a@b.test":                                one("", "a@b.test"),
		"<a@b.test>":                              one("", "a@b.test"),
		`"abc..def"@docomo.ne.jp`:                 one("", "abc..def@docomo.ne.jp"),
		`Carrier <"abc..def"@docomo.ne.jp>`:       one("Carrier", `"abc..def"@docomo.ne.jp`),
		`"Smith, \"Joe\"" <joe@b.test>`:           one(`Smith, "Joe"`, "joe@b.test"),
		"joe@b.test (Joe (the) Smith)":            one("Joe (the) Smith", "joe@b.test"),
		"Joe Smith joe@b.test":                    one("Joe Smith", "joe@b.test"),
		"root":                                    one("", "root"),
		"Joe Smith":                               one("Joe Smith", ""),
		"山田 <y@b.test>":                           one("山田", "y@b.test"),
		"=?UTF-8?Q?a,b=3Cx=3E?= <c@b.test>":       one("a,b<x>", "c@b.test"),
		"=?UTF-8?Q?a,b?= <c@b.test>":              one("a,b", "c@b.test"),
		`"=?UTF-8?B?5bGx55Sw?=" <c@b.test>`:       one("山田", "c@b.test"),
		"=?UTF-8?B?5bGx55Sw?=<c@b.test>":          one("山田", "c@b.test"),
		"a@b.test; c@d.test":                      {{Address: "a@b.test"}, {Address: "c@d.test"}},
		"Team: a@b.test, C <c@d.test>;, e@f.test": {{Address: "a@b.test"}, {Name: "C", Address: "c@d.test"}, {Address: "e@f.test"}},
		"undisclosed-recipients:;":                nil,
		"a@b.test,\r\n\t,,c@d.test":               {{Address: "a@b.test"}, {Address: "c@d.test"}},
		`"never closed <a@b.test>`:                one(`"never closed`, "a@b.test"),
		"(never closed <a@b.test>":                one("(never closed", "a@b.test"),
		"Two <a@b.test> <c@d.test>":               one("Two <c@d.test>", "a@b.test"),
		"<no end@b.test":                          one("", "no end@b.test"),
		"\x1b$B;3ED\x1b(B <y@b.test>":             one("山田", "y@b.test"),
		"\x1b$BI=<(\x1b(B <y@b.test>, z@b.test":   {{Name: "表示", Address: "y@b.test"}, {Address: "z@b.test"}},
		strings.Repeat("x", 3000) + " <a@b.test>": one(strings.Repeat("x", 1024), "a@b.test"),
		"=?iso-2022-jp?B?GyRCOzM=?=\r\n =?ISO-2022-JP?B?RUQbKEI=?= <y@b.test>": one("山田", "y@b.test"),
	} {
		s := summarize(t, []byte("From: "+in+"\r\n\r\n"))
		require.Equal(t, want, s.From, "%q", in)
	}
}

func TestTopReceived(t *testing.T) {
	for in, want := range map[string]mail.Received{
		"from x (y [192.0.2.1])\r\n\tby mx.Example.TEST (Postfix) with ESMTP id 4XYZ123\r\n\tfor <a@b>; date":             {By: "mx.example.test", ID: "4XYZ123"},
		"by mx.example.test (Postfix, from userid 1000)\r\n\tid 4XYZ123; date":                                            {By: "mx.example.test", ID: "4XYZ123"},
		"by mx.example.test (Postfix)\r\n\tid 4XYZ123; date":                                                              {By: "mx.example.test", ID: "4XYZ123"},
		"from evil (y [192.0.2.1] (may be forged))\r\n\tby mx.test (Postfix) with SMTP id 4A for <id@b>;\r\n\tby x id 4B": {By: "mx.test", ID: "4A"},
		"by mx.example.test (Postfix, from userid 1000) id 4XYZ123; date":                                                 {By: "mx.example.test", ID: "4XYZ123"},
		"from x by mx.example.test with SMTP id <abc>; Thu, 1 Jan 2026 by id":                                             {By: "mx.example.test", ID: "abc"},
		"from by (x) by mx.example.test id Q1;date":                                                                       {By: "mx.example.test", ID: "Q1"},
		"by mx.test id Q2\r\n\tfor <a;@b>; Thu,  1 Jan 2026 09:00:00 +0900 (JST)":                                         {By: "mx.test", ID: "Q2", At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		"from x (open by y": {},
		"":                  {},
	} {
		s := summarize(t, []byte("Return-Path: <a@b>\r\nReceived: "+in+"\r\nReceived: by old.test id OLD; d\r\n\r\n"))
		require.Equal(t, want, s.Top, "%q", in)
	}
}

func TestDates(t *testing.T) {
	want := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for in, ok := range map[string]bool{
		"Thu, 1 Jan 2026 09:00:00 +0900 (JST)":  true,
		"1 Jan 26 00:00 GMT":                    true,
		"Thu, 01 Jan 2026\r\n 00:00:00 +0000":   true,
		"Thu, 1 Jan 2026 00:00:00":              true,
		"2026-01-01T09:00:00+09:00":             true,
		"Thu Jan 1 00:00:00 2026":               true,
		"yesterday":                             false,
		"Thu, 1 Jan 2026 00:00:00 PM":           false,
		"Fri, 31 Dec 9999 23:00:00 -1200":       false,
		"Mon, 1 Jan 0001 00:00:00 +0000":        false,
		"Thu, 32 Jan 2026 00:00:00 +0000":       false,
		"\x00":                                  false,
		"Thu, 1 Jan 2026 00:00:00 +0000 (\xff(": true,
	} {
		s := summarize(t, []byte("From: a@b.test\r\nDate: "+in+"\r\n\r\n"))
		if !ok {
			require.Zero(t, s.Date, "%q", in)
			require.Contains(t, s.Defects, mail.DefectDate)
			continue
		}
		require.Equal(t, want, s.Date, "%q", in)
		require.NotContains(t, s.Defects, mail.DefectDate)
	}
}

// RFC 5322, 4.3. Where the program runs has nothing to do with it.
func TestNamedZonesAreThoseOfMail(t *testing.T) {
	here := time.Local
	defer func() { time.Local = here }()
	for _, place := range []string{"UTC", "Asia/Tokyo", "America/New_York"} {
		var err error
		time.Local, err = time.LoadLocation(place)
		require.NoError(t, err)
		for in, hour := range map[string]int{
			"Mon, 15 Jan 2024 10:00:00 JST": 1, "Mon, 15 Jan 2024 10:00:00 \"JST\"": 1, "Mon, 15 Jan 2024 10:00:00 EST": 15, "Mon, 15 Jan 2024 10:00:00 PDT": 17,
			"Mon, 15 Jan 2024 10:00:00 gmt": 10, "Mon, 15 Jan 2024 10:00:00 Z": 10, "15 Jan 24 10:00 CEST": 10, "Mon Jan 15 10:00:00 EST 2024": 15,
			"Mon Jan 15 10:00:00 2024": 10, "Mon, 15 Jan 2024 10:00:00": 10, "Mon, 15 Jan 2024 10:00:00 +0900 (JST)": 1,
		} {
			s := summarize(t, []byte("From: a@b.test\r\nDate: "+in+"\r\n\r\n"))
			require.Equal(t, time.Date(2024, 1, 15, hour, 0, 0, 0, time.UTC), s.Date, "%s in %s", in, place)
		}
	}
}

func TestFileNamesAreSafeToShow(t *testing.T) {
	for in, want := range map[string]string{
		`name="../../etc/passwd"`:                    "passwd",
		`name="C:\\Users\\x\\a.doc"`:                 "a.doc",
		`name=".."`:                                  "",
		`name="dir/"`:                                "",
		"name=\"a\x00b\x07.txt\"":                    "a b .txt",
		"name=\"annual\u202etxt.exe\"":               "annualtxt.exe",
		`name*=UTF-8''a%2Fb%E3%81%82.txt`:            "bあ.txt",
		`name*=''%82%A0%82%A2%82%A4.txt`:             "あいう.txt",
		`name*=utf-8''%E3%8`:                         "ã%8",
		`name*0=a; name*2=c; name*1=b; name*4=e`:     "abc",
		`name*0*=utf-8''%E3%81; name*1*=%82; name=x`: "あ",
		`name="=?utf-8?Q?a=2Fb?="`:                   "b",
		`name="=?utf-8?B?44GC?= (1).txt"`:            "あ (1).txt",
		`name=a b.txt; x=y`:                          "a b.txt",
		`name="a;b.txt`:                              "a;b.txt",
		`flag; =x; name = "spaced" `:                 "spaced",
	} {
		s := summarize(t, []byte("From: a@b.test\r\nContent-Type: application/octet-stream; "+in+"\r\n\r\n"))
		require.Equal(t, want, s.Parts[0].Name, "%q", in)
	}
}

func TestPreviewIsReadableText(t *testing.T) {
	for in, want := range map[string]string{
		"Content-Type: text/html; charset=shift_jis\r\n\r\n<p>\x89\xef\x8bc</p><br>x":                                          "会議 x",
		"Content-Type: text/html\r\n\r\n<!doctype html><HEAD><TITLE>t</TITLE></HEAD>a<STYLE>b</STYLE>c<!-- d --> &lt;&#x3042;": "ac <あ",
		"Content-Type: text/plain; charset=utf-8\r\n\r\n\ufeff a \t\r\n\r\n　b　":                                                "a b",
		"Content-Type: text/plain; charset=nonsense\r\n\r\n" + strings.Repeat("あ", 300):                                        strings.Repeat("あ", 256),
		"Content-Type: text/plain; charset=iso-8859-15\r\n\r\n\xa4":                                                            "€",
		"Content-Type: text/plain; charset=utf-16le\r\n\r\na\x00b\x00":                                                         "ab",
		"Content-Type: application/pdf\r\n\r\nPDF":                                                                             "",
		"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nfile":                                              "",
		"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\nna\xefve":                                                        "naïve",
		"\r\nGr\xfc\xdfe an alle": "Grüße an alle",
	} {
		s := summarize(t, []byte("From: a@b.test\r\n"+in))
		require.Equal(t, want, s.Preview, "%q", in)
	}
}
