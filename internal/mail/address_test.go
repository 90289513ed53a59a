package mail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/internal/mail"
)

func TestParseAddress(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, tt := range []struct {
		in            string
		local, domain string // both empty: the null sender
		bad           bool
	}{
		{in: ""},
		{in: "<>"},
		{in: "bob@example.test", local: "bob", domain: "example.test"},
		{in: "<Bob@Example.TEST>", local: "Bob", domain: "example.test"},
		{in: "bob@example.test.", local: "bob", domain: "example.test"},
		{in: `"bob"@example.test`, local: "bob", domain: "example.test"},
		{in: `<"a b\"c\\d@e"@example.test>`, local: `a b"c\d@e`, domain: "example.test"},
		{in: "abc..def@docomo.ne.jp", local: "abc..def", domain: "docomo.ne.jp"},
		{in: `"abc..def"@docomo.ne.jp`, local: "abc..def", domain: "docomo.ne.jp"},
		{in: "<abc.@ezweb.ne.jp>", local: "abc.", domain: "ezweb.ne.jp"},
		{in: `<".abc"@ezweb.ne.jp>`, local: ".abc", domain: "ezweb.ne.jp"},
		{in: ".abc@ezweb.ne.jp", local: ".abc", domain: "ezweb.ne.jp"},
		{in: "山田@例え.テスト", local: "山田", domain: "xn--r8jz45g.xn--zckzah"},
		{in: "か\u3099@example.test", local: "が", domain: "example.test"},
		{in: "a@BÜCHER.example", local: "a", domain: "xn--bcher-kva.example"},
		{in: "a@ｅｘａｍｐｌｅ．test", local: "a", domain: "example.test"},
		{in: "a@_dmarc.under_score.test", local: "a", domain: "_dmarc.under_score.test"},
		{in: "a@-odd-.test", local: "a", domain: "-odd-.test"},
		{in: "a@[192.0.2.1]", local: "a", domain: "[192.0.2.1]"},
		{in: "a@[IPv6:2001:DB8::1]", local: "a", domain: "[ipv6:2001:db8::1]"},
		{in: "<@relay.test,@b.test:user@c.test>", local: "user", domain: "c.test"},
		{in: "SRS0=x=y=example.test=" + strings.Repeat("v", 100) + "@fwd.test", local: "SRS0=x=y=example.test=" + strings.Repeat("v", 100), domain: "fwd.test"},

		{in: "postmaster", bad: true},
		{in: "<postmaster>", bad: true},
		{in: "@example.test", bad: true},
		{in: `""@example.test`, bad: true},
		{in: "a@", bad: true},
		{in: "a@b@c", bad: true},
		{in: "a b@c", bad: true},
		{in: "a,b@c", bad: true},
		{in: "a@b c", bad: true},
		{in: "a@b..c", bad: true},
		{in: "a@.b", bad: true},
		{in: "a@b;c", bad: true},
		{in: "a\x00@b", bad: true},
		{in: "\"a\x00\"@b", bad: true},
		{in: "a\r\n@b", bad: true},
		{in: "\"a\r\nRCPT TO:<x>\"@b", bad: true},
		{in: "a@b\r\n", bad: true},
		{in: "a\u0085b@c", bad: true},
		{in: "a\xff@b", bad: true},
		{in: `"a@b`, bad: true},
		{in: `"a\`, bad: true},
		{in: `"a"x@b`, bad: true},
		{in: "<a@b", bad: true},
		{in: "a@b>", bad: true},
		{in: "<@a.test>", bad: true},
		{in: "<@a.test:>", bad: true},
		{in: "a@[192.0.2]", bad: true},
		{in: "a@[2001:db8::1]", bad: true},
		{in: "a@[IPv6:192.0.2.1]", bad: true},
		{in: "a@[x", bad: true},
		{in: long + "@b", bad: true},
		{in: "a@" + strings.Repeat("x", 64) + ".test", bad: true},
		{in: "a@" + strings.Repeat("x.", 200) + "test", bad: true},
		{in: "a@xn--zz\uffff", bad: true},
	} {
		a, err := mail.ParseAddress(tt.in)
		if tt.bad {
			require.ErrorIs(t, err, mail.ErrAddress, "%q gave %+v", tt.in, a)
			require.Zero(t, a)
			continue
		}
		require.NoError(t, err, "%q", tt.in)
		require.Equal(t, mail.Address{Local: tt.local, Domain: tt.domain}, a, "%q", tt.in)
		require.Equal(t, tt.local == "", a.IsZero())
	}
}

func TestPathThatWasTakenIsAlwaysRead(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for in, want := range map[string]mail.Address{
		"":                         {},
		"<>":                       {},
		`<"a b"@Example.TEST>`:     {Local: "a b", Domain: "example.test"},
		"<@relay.test:bob@x.test>": {Local: "bob", Domain: "x.test"},
		"<Postmaster>":             {Local: "Postmaster"},
		`<""@x>`:                   {Domain: "x"},
		"@x":                       {Domain: "x"},
		`""`:                       {Local: "\uFFFD"},
		"@":                        {Local: "\uFFFD"},
		long + "@evil.test":        {Local: long[:1024], Domain: "evil.test"},
		"a b@X.test":               {Local: "a b", Domain: "x.test"},
		"\"a\\\x01b\"@x":           {Local: "a\uFFFDb", Domain: "x"},
		"a\xff\xfeb@x":             {Local: "a\uFFFDb", Domain: "x"},
		`"a"b@c@X..y`:              {Local: "ab@c", Domain: "X..y"},
		`"a`:                       {Local: "a"},
		"a\r\nB: c@d\r\n":          {Local: "a\uFFFD\uFFFDB: c", Domain: "d\uFFFD\uFFFD"},
		"か\u3099 @x":               {Local: "が ", Domain: "x"},
	} {
		require.Equal(t, want, mail.ReadPath(in), "%q", in)
	}
}

func TestPathIsReadTheSameWithBracketsAndAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a"\\ @<>,:\x00\xff]{0,12}(@[xX.-]{0,4})?`)).Draw(t, "path")
		a := mail.ReadPath(path)
		if !strings.HasPrefix(path, "<") {
			require.Equal(t, a, mail.ReadPath("<"+path+">"))
		}
		require.Equal(t, a, mail.ReadPath(a.SMTP()), "%q", a.SMTP())
		require.Equal(t, path == "" || path == "<>", a.IsZero())
		require.NotContains(t, a.SMTP(), "\n")
		require.NotContains(t, a.SMTP(), "\x00")
	})
}

func TestRecipientMayBeALocalPartAlone(t *testing.T) {
	for _, in := range []string{"<Postmaster>", "Postmaster", `"Postmaster"`} {
		a, err := mail.ParseRecipient(in)
		require.NoError(t, err)
		require.Equal(t, mail.Address{Local: "Postmaster"}, a)
		require.Equal(t, "Postmaster", a.String())
	}
}

func TestUnquotedFormTakesTheLastAt(t *testing.T) {
	a, err := mail.ParseUnquoted("a b@c@Example.TEST")
	require.NoError(t, err)
	require.Equal(t, mail.Address{Local: "a b@c", Domain: "example.test"}, a)
	require.Equal(t, `"a b@c"@example.test`, a.SMTP())

	null, err := mail.ParseUnquoted("")
	require.NoError(t, err)
	require.True(t, null.IsZero())
	_, err = mail.ParseUnquoted("a\n@b")
	require.ErrorIs(t, err, mail.ErrAddress)
}

func TestSMTPQuotesWhatIsNoDotString(t *testing.T) {
	for local, want := range map[string]string{
		"bob":      "bob@d",
		"a+b=c":    "a+b=c@d",
		"山田":       "山田@d",
		"abc..def": `"abc..def"@d`,
		"abc.":     `"abc."@d`,
		".abc":     `".abc"@d`,
		"a b":      `"a b"@d`,
		`a"b\c`:    `"a\"b\\c"@d`,
	} {
		require.Equal(t, want, mail.Address{Local: local, Domain: "d"}.SMTP())
	}
	require.Empty(t, mail.Address{}.SMTP())
}

func TestDetail(t *testing.T) {
	for _, tt := range []struct {
		local, delimiters, base, detail string
		ok                              bool
	}{
		{"bob+news", "+", "bob", "news", true},
		{"bob+a+b", "+", "bob", "a+b", true},
		{"bob-a+b", "+-", "bob", "a+b", true},
		{"bob+", "+", "bob", "", true},
		{"bob", "+", "bob", "", false},
		{"+bob", "+", "+bob", "", false},
		{"bob+news", "", "bob+news", "", false},
		{"bob→x", "→", "bob", "x", true},
	} {
		base, detail, ok := mail.Address{Local: tt.local, Domain: "d"}.Detail(tt.delimiters)
		require.Equal(t, tt.ok, ok, tt.local)
		require.Equal(t, mail.Address{Local: tt.base, Domain: "d"}, base)
		require.Equal(t, tt.detail, detail)
	}
}

func TestNormalDomain(t *testing.T) {
	d, err := mail.NormalDomain("Example.TEST.")
	require.NoError(t, err)
	require.Equal(t, "example.test", d)
	_, err = mail.NormalDomain("")
	require.ErrorIs(t, err, mail.ErrAddress)
}

func TestAddressesSurviveBothForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-zA-Z0-9 ."\\@<>あがé+,;-]{1,60}`).Draw(t, "local")
		a, err := mail.ParseUnquoted(local + "@example.test")
		if err != nil {
			t.Fatal(err)
		}
		requireSurvives(t, a)
	})
}

// requireSurvives holds what callers rely on for every address that was parsed.
func requireSurvives(t require.TestingT, a mail.Address) {
	b, err := mail.ParseRecipient(a.SMTP())
	require.NoError(t, err, "%+v", a)
	require.Equal(t, a, b)
	b, err = mail.ParseRecipient("<" + a.SMTP() + ">")
	require.NoError(t, err, "%+v", a)
	require.Equal(t, a, b)
	if a.Domain != "" {
		b, err = mail.ParseUnquoted(a.String())
		require.NoError(t, err, "%+v", a)
		require.Equal(t, a, b)
	}
	require.Equal(t, a.Fold(), a.Fold().Fold())
	require.NotContains(t, a.String()+a.SMTP(), "\n")
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"", "<>", "bob@example.test", `"a b"@c`, "abc..def@docomo.ne.jp", "山田@例え.テスト", "a@[IPv6:::1]",
		"<@a,@b:user@c>", "postmaster", `"\"@x`, "a@xn--r8jz45g", "か\u3099@x", "İ\u0307@x", "a@。b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (mail.Address, error){mail.ParseAddress, mail.ParseRecipient, mail.ParseUnquoted} {
			a, err := parse(s)
			if err != nil {
				require.ErrorIs(t, err, mail.ErrAddress)
				require.Zero(t, a)
				continue
			}
			requireSurvives(t, a)
		}
	})
}
