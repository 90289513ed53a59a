package rule_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy/rule"
)

const sample = "Subject: =?ISO-2022-JP?B?GyRCTCQ+NUJ6OS05cCIoGyhC?=\r\n" +
	"X-Mailer: Bulk\r\n 9000\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\n\r\nhello world\r\n" +
	"--b\r\nContent-Type: image/png; name=\"=?UTF-8?B?6KuL5rGC5pu4LnBuZw==?=\"\r\n\r\nPNG\r\n" +
	"--b\r\nContent-Type: application/zip\r\nContent-Disposition: attachment; filename*=UTF-8''invoice%2Eexe\r\n\r\nPK\r\n" +
	"--b--\r\n"

// message makes what the milter hands over: an inbound message of a client at 192.0.2.7.
func message(t testing.TB, raw string) *mail.Message {
	t.Helper()
	s, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
	require.NoError(t, err)
	m := &mail.Message{
		Envelope: mail.Envelope{
			From: address(t, "Spammer@example.org"),
			Rcpt: []mail.Recipient{{Address: address(t, "bob@example.test")}, {Address: address(t, "abc..def@docomo.ne.jp")}},
			Client: mail.Client{
				Addr: netip.MustParseAddr("::ffff:192.0.2.7"), Helo: "dynamic-7.example.org",
			},
		},
		SizeBytes: int64(len(raw)),
		Summary:   s,
		Open:      func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(raw)), nil },
	}
	header, _, _ := strings.Cut(raw, "\r\n\r\n")
	for _, line := range strings.Split(strings.ReplaceAll(header, "\r\n ", "\x00 "), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		m.Header = append(m.Header, mail.Field{Name: name, Value: strings.ReplaceAll(value, "\x00", "\r\n")})
	}
	return m
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	require.NoError(t, err)
	return a
}

func check(t testing.TB, m *mail.Message, rules ...rule.Options) mail.Verdict {
	t.Helper()
	s, err := rule.New(rules)
	require.NoError(t, err)
	v, err := s.Check(context.Background(), m)
	require.NoError(t, err)
	return v
}

func TestConditions(t *testing.T) {
	yes, no := true, false
	header := func(name, re string) rule.Conditions {
		return rule.Conditions{Header: []rule.HeaderCondition{{Name: name, Matches: re}}}
	}
	for name, tt := range map[string]struct {
		holds rule.Conditions
		fails rule.Conditions
	}{
		"header":               {header("X-Mailer", "^bulk 9000$"), header("X-Mailer", "(?-i)bulk")},
		"header in Japanese":   {header("subject", "未承諾広告※"), header("Subject", "^広告")},
		"header name":          {header("x-mailer", "."), header("X-Mail", ".")},
		"all headers":          {rule.Conditions{Header: []rule.HeaderCondition{{"Subject", "広告"}, {"X-Mailer", "9"}}}, rule.Conditions{Header: []rule.HeaderCondition{{"Subject", "広告"}, {"X-Mailer", "8"}}}},
		"sender":               {rule.Conditions{SenderMatches: "^spammer@"}, rule.Conditions{SenderMatches: "^$"}},
		"recipient":            {rule.Conditions{RecipientMatches: `^abc\.\.def@docomo`}, rule.Conditions{RecipientMatches: "^eve@"}},
		"client":               {rule.Conditions{Client: []string{"2001:db8::/32", "192.0.2.0/24"}}, rule.Conditions{Client: []string{"192.0.2.8", "::/0"}}},
		"client address":       {rule.Conditions{Client: []string{"192.0.2.7"}}, rule.Conditions{Client: []string{"192.0.2.6"}}},
		"mapped client":        {rule.Conditions{Client: []string{"::ffff:192.0.2.7"}}, rule.Conditions{Client: []string{"198.51.100.0/24"}}},
		"helo":                 {rule.Conditions{HeloMatches: "^DYNAMIC-"}, rule.Conditions{HeloMatches: "^static"}},
		"size over":            {rule.Conditions{SizeGT: int64(len(sample)) - 1}, rule.Conditions{SizeGT: int64(len(sample))}},
		"size under":           {rule.Conditions{SizeLT: int64(len(sample)) + 1}, rule.Conditions{SizeLT: int64(len(sample))}},
		"attachment name":      {rule.Conditions{AttachmentNameMatches: `\.(exe|scr)$`}, rule.Conditions{AttachmentNameMatches: `\.pdf$`}},
		"attachment in kanji":  {rule.Conditions{AttachmentNameMatches: `^請求書`}, rule.Conditions{AttachmentNameMatches: `見積`}},
		"attachment type":      {rule.Conditions{AttachmentType: []string{"text/*", "Application/ZIP"}}, rule.Conditions{AttachmentType: []string{"application/z", "text/*"}[1:]}},
		"attachment wild type": {rule.Conditions{AttachmentType: []string{"image/*"}}, rule.Conditions{AttachmentType: []string{"video/*", "image/jpeg"}}},
		"no defect":            {rule.Conditions{BodyContains: "hello"}, rule.Conditions{Defect: []string{"too_deep", "nul"}}},
		"body":                 {rule.Conditions{BodyContains: "hello world"}, rule.Conditions{BodyContains: "Hello"}},
		"body is not header":   {rule.Conditions{BodyContains: "--b--"}, rule.Conditions{BodyContains: "X-Mailer"}},
		"authenticated":        {rule.Conditions{Authenticated: &no}, rule.Conditions{Authenticated: &yes}},
		"all together": {
			rule.Conditions{SenderMatches: "spammer", HeloMatches: "dyn", Authenticated: &no},
			rule.Conditions{SenderMatches: "spammer", HeloMatches: "dyn", Authenticated: &yes},
		},
	} {
		m := message(t, sample)
		reject := rule.Options{Name: "r", Action: "reject"}

		reject.Conditions = tt.holds
		require.Equal(t, mail.Reject, check(t, m, reject).Action, name)
		reject.Conditions = tt.fails
		require.Equal(t, mail.Allow, check(t, m, reject).Action, name)

		reject.Conditions, reject.Not = rule.Conditions{}, &tt.holds
		require.Equal(t, mail.Allow, check(t, m, reject).Action, "not %s", name)
		if reject.Not = &tt.fails; name != "all together" && name != "all headers" {
			require.Equal(t, mail.Reject, check(t, m, reject).Action, "not %s", name)
		}
	}
}

func TestAnyExceptionIsEnough(t *testing.T) {
	r := rule.Options{Action: "reject", Not: &rule.Conditions{SenderMatches: "nobody", HeloMatches: "dynamic"}}
	require.Equal(t, mail.Allow, check(t, message(t, sample), r).Action)
	r.Not.HeloMatches = "static"
	require.Equal(t, mail.Reject, check(t, message(t, sample), r).Action)
}

func TestDirection(t *testing.T) {
	for way, words := range map[mail.Direction][]string{
		mail.Inbound: {"", "inbound", "any"}, mail.Outbound: {"outbound", "any"}, mail.Local: {"local", "any"},
	} {
		for _, word := range []string{"", "inbound", "outbound", "local", "any"} {
			m := message(t, sample)
			m.Direction = way
			want := mail.Allow
			for _, w := range words {
				if w == word {
					want = mail.Reject
				}
			}
			require.Equal(t, want, check(t, m, rule.Options{Direction: word, Action: "reject"}).Action, "%s %q", way, word)
		}
	}
}

func TestVerdictsAreMergedInOrder(t *testing.T) {
	v := check(t, message(t, sample),
		rule.Options{Name: "a", Tags: []string{"bulk", "x"}, Score: 3},
		rule.Options{Name: "never", Conditions: rule.Conditions{SenderMatches: "nobody"}, Action: "reject"},
		rule.Options{Action: "tempfail", Score: 7, Tags: []string{"bulk"}, Reply: &rule.Reply{Text: "first"}},
		rule.Options{Name: "c", Action: "tempfail", Reply: &rule.Reply{Code: 452, Enhanced: "4.2.2", Text: "second"}, Stop: true},
		rule.Options{Name: "d", Action: "reject"},
	)
	require.Equal(t, mail.Verdict{
		Action: mail.Tempfail, Tags: []string{"bulk", "x"}, Score: 7,
		Reply:   &mail.Reply{Code: 451, Enhanced: "4.7.1", Text: "first"},
		Reasons: []string{"rule:a", "rule:rule-3", "rule:c"},
	}, v)
}

func TestActionDefaults(t *testing.T) {
	require.Equal(t, mail.Tag, check(t, message(t, sample), rule.Options{Tags: []string{"x"}}).Action)
	require.Equal(t, mail.Allow, check(t, message(t, sample), rule.Options{Score: 1}).Action)
	require.Equal(t, mail.Verdict{}, check(t, message(t, sample)))
	v := check(t, message(t, sample), rule.Options{Action: "reject", Reply: &rule.Reply{Text: "No."}})
	require.Equal(t, &mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "No."}, v.Reply)
}

func TestGTUBEIsRefusedWhicheverWayItGoes(t *testing.T) {
	for _, way := range []mail.Direction{mail.Inbound, mail.Outbound, mail.Local} {
		m := message(t, "Subject: test\r\n\r\nHi,\r\n"+rule.GTUBE+"\r\n")
		m.Direction = way
		v := check(t, m, rule.GTUBERule())
		require.Equal(t, mail.Reject, v.Action)
		require.Equal(t, []string{"gtube"}, v.Tags)
		require.Equal(t, []string{"rule:gtube"}, v.Reasons)
	}
	require.Equal(t, mail.Allow, check(t, message(t, "Subject: "+rule.GTUBE+"\r\n\r\nHi\r\n"), rule.GTUBERule()).Action)
}

func TestOnlyTheBeginningOfTheBodyIsLookedAt(t *testing.T) {
	body := rule.Options{Action: "reject", Conditions: rule.Conditions{BodyContains: "needle"}}
	at := func(n int) string { return "Subject: x\r\n\r\n" + strings.Repeat("x", n) + "needle" }
	require.Equal(t, mail.Reject, check(t, message(t, at(64<<10-6)), body).Action)
	require.Equal(t, mail.Allow, check(t, message(t, at(64<<10-5)), body).Action)
	require.Equal(t, mail.Allow, check(t, message(t, "Subject: needle"), body).Action)
	require.Equal(t, mail.Allow, check(t, message(t, ""), body).Action)
}

func TestHugeHeadersAreCut(t *testing.T) {
	m := message(t, "Subject: "+strings.Repeat("a", 1<<20)+"end\r\nX-A: b\r\n\r\n")
	subject := func(re string) rule.Options {
		return rule.Options{Action: "reject", Conditions: rule.Conditions{Header: []rule.HeaderCondition{{Name: "Subject", Matches: re}}}}
	}
	require.Equal(t, mail.Reject, check(t, m, subject("^a{1000}")).Action)
	require.Equal(t, mail.Allow, check(t, m, subject("end")).Action)

	for range 3000 {
		m.Header = append(m.Header, mail.Field{Name: "Subject", Value: " " + strings.Repeat("a", 16<<10)})
	}
	m.Header = append(m.Header, mail.Field{Name: "Subject", Value: " end"})
	require.Equal(t, mail.Allow, check(t, m, subject("end")).Action)
}

func TestFailuresToReadAreGivenBack(t *testing.T) {
	gone := errors.New("spool gone")
	s, err := rule.New([]rule.Options{rule.GTUBERule()})
	require.NoError(t, err)
	require.Equal(t, "rules", s.Name())

	m := message(t, sample)
	m.Open = func() (io.ReadCloser, error) { return nil, gone }
	_, err = s.Check(context.Background(), m)
	require.ErrorIs(t, err, gone)
	require.ErrorContains(t, err, "check rule gtube: open message")

	m.Open = func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(gone)), nil }
	_, err = s.Check(context.Background(), m)
	require.ErrorIs(t, err, gone)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Check(ctx, message(t, sample))
	require.ErrorIs(t, err, context.Canceled)
}

func TestMessageWithoutSummaryHasNoAttachments(t *testing.T) {
	m := message(t, sample)
	m.Summary = nil
	r := rule.Options{Action: "reject", Conditions: rule.Conditions{AttachmentType: []string{"image/*"}}}
	require.Equal(t, mail.Allow, check(t, m, r).Action)
}

func TestAttachmentsOfAttachedMessagesAreSeen(t *testing.T) {
	m := message(t, "From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"+
		"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/x-evil; name=evil.exe\r\n\r\nMZ\r\n--c--\r\n--b--\r\n")
	for _, c := range []rule.Conditions{{AttachmentNameMatches: `\.exe$`}, {AttachmentType: []string{"application/x-evil"}}} {
		require.Equal(t, mail.Reject, check(t, m, rule.Options{Action: "reject", Conditions: c}).Action)
	}
}

func TestDefectsCanBeRefused(t *testing.T) {
	m := message(t, "From: a@b.test\r\nContent-Type: multipart/mixed\r\n\r\n--b\r\n")
	defect := func(words ...string) rule.Options {
		return rule.Options{Action: "reject", Conditions: rule.Conditions{Defect: words}}
	}
	require.Equal(t, mail.Reject, check(t, m, defect("too_deep", "no_boundary")).Action)
	require.Equal(t, mail.Allow, check(t, m, defect("too_deep")).Action)
	m.Summary = nil
	require.Equal(t, mail.Allow, check(t, m, defect("no_boundary")).Action)
}

func TestBadRulesAreExplained(t *testing.T) {
	when := func(c rule.Conditions) rule.Options { return rule.Options{Name: "x", Conditions: c} }
	for want, o := range map[string]rule.Options{
		"rules[1] (x): sender_matches: error parsing regexp: missing closing ): `(`":                           when(rule.Conditions{SenderMatches: "("}),
		"rules[1] (x): recipient_matches: error parsing regexp: missing argument to repetition operator: `*`":  when(rule.Conditions{RecipientMatches: "*.test"}),
		"rules[1] (x): helo_matches: error parsing regexp: invalid character class range: `z-a`":               when(rule.Conditions{HeloMatches: "[z-a]"}),
		"rules[1] (x): attachment_name_matches: error parsing regexp: invalid or unsupported Perl syntax: `(?": when(rule.Conditions{AttachmentNameMatches: "(?=x)"}),
		"rules[1] (x): header[0].matches: error parsing regexp: missing closing ]: `[`":                        when(rule.Conditions{Header: []rule.HeaderCondition{{"Subject", "["}}}),
		"rules[1] (x): header[0].matches: required; use . for any text":                                        when(rule.Conditions{Header: []rule.HeaderCondition{{"Subject", ""}}}),
		`rules[1] (x): header[0].name: "Sub ject" is no name of a header field`:                                when(rule.Conditions{Header: []rule.HeaderCondition{{"Sub ject", "x"}}}),
		`rules[1] (x): client: "192.0.2.0/33" is neither an address nor a CIDR such as 192.0.2.0/24`:           when(rule.Conditions{Client: []string{"192.0.2.0/33"}}),
		`rules[1] (x): client: "mx.example.test" is neither`:                                                   when(rule.Conditions{Client: []string{"mx.example.test"}}),
		"rules[1] (x): size_gt, size_lt: must not be negative":                                                 when(rule.Conditions{SizeGT: -1}),
		"rules[1] (x): size_gt, size_lt: no size is over 10 and under 11":                                      when(rule.Conditions{SizeGT: 10, SizeLT: 11}),
		`rules[1] (x): attachment_type: "zip" is no media type such as application/zip or image/*`:             when(rule.Conditions{AttachmentType: []string{"zip"}}),
		`rules[1] (x): defect: "broken" is none of no_header, no_blank_line, header_too_long, nul`:             when(rule.Conditions{Defect: []string{"nul", "broken"}}),
		"rules[1] (x): not: sender_matches: error parsing regexp":                                              {Name: "x", Not: &rule.Conditions{SenderMatches: "("}},
		`rules[1] (x): direction: "in" is none of inbound, outbound, local, any`:                               {Name: "x", Direction: "in"},
		`rules[1] (x): action: unknown action "drop": use allow, tag, quarantine, tempfail or reject`:          {Name: "x", Action: "drop"},
		`rules[1] (x): tags: "Big Spam": use 1 to 40 of a-z 0-9 . _ -`:                                         {Name: "x", Tags: []string{"Big Spam"}},
		"rules[1] (x): tags: the action tag needs at least one":                                                {Name: "x", Action: "tag"},
		"rules[1] (x): score: must be within ±1000000":                                                         {Name: "x", Score: 1e7},
		"rules[1] (x): reply: only reject and tempfail answer; the action is quarantine":                       {Name: "x", Action: "quarantine", Reply: &rule.Reply{Text: "x"}},
		"rules[1] (x): reply.code: 451 does not go with reject: use 5xx (not 421)":                             {Name: "x", Action: "reject", Reply: &rule.Reply{Code: 451, Text: "x"}},
		"rules[1] (x): reply.code: 421 does not go with tempfail":                                              {Name: "x", Action: "tempfail", Reply: &rule.Reply{Code: 421, Text: "x"}},
		`rules[1] (x): reply.enhanced: "5.7.1" does not go with tempfail: use 4.x.x`:                           {Name: "x", Action: "tempfail", Reply: &rule.Reply{Enhanced: "5.7.1", Text: "x"}},
		"rules[1] (x): reply.text: use one line of 1 to 200 printable ASCII characters":                        {Name: "x", Action: "reject", Reply: &rule.Reply{Text: "a\r\nb"}},
		"rules[1] (first): name: rules[0] has it already":                                                      {Name: "first"},
		"rules[1] (山): name: use 1 to 200 printable ASCII characters":                                          {Name: "山"},
	} {
		s, err := rule.New([]rule.Options{{Name: "first"}, o})
		require.ErrorContains(t, err, want)
		require.Nil(t, s)
	}
}

// TestOptionsAreReadStrictly holds the spelling of the configuration.
func TestOptionsAreReadStrictly(t *testing.T) {
	const text = `
- name: executables
  direction: any
  header:
    - {name: Subject, matches: 請求}
  sender_matches: '@example\.org$'
  recipient_matches: '@example\.test$'
  client: [192.0.2.0/24]
  helo_matches: dyn
  size_gt: 10
  size_lt: 100000
  attachment_name_matches: '\.exe$'
  attachment_type: [application/zip]
  defect: [too_many_parts]
  body_contains: PK
  authenticated: false
  not:
    client: [192.0.2.1]
  action: reject
  tags: [exe]
  score: 12.5
  reply: {code: 554, enhanced: 5.6.1, text: 'No programs, please'}
  stop: true
`
	no := false
	var got []rule.Options
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict()))
	require.Equal(t, []rule.Options{{
		Name: "executables", Direction: "any",
		Conditions: rule.Conditions{
			Header:        []rule.HeaderCondition{{Name: "Subject", Matches: "請求"}},
			SenderMatches: `@example\.org$`, RecipientMatches: `@example\.test$`, Client: []string{"192.0.2.0/24"},
			HeloMatches: "dyn", SizeGT: 10, SizeLT: 100000, AttachmentNameMatches: `\.exe$`,
			AttachmentType: []string{"application/zip"}, Defect: []string{"too_many_parts"}, BodyContains: "PK", Authenticated: &no,
		},
		Not:    &rule.Conditions{Client: []string{"192.0.2.1"}},
		Action: "reject", Tags: []string{"exe"}, Score: 12.5,
		Reply: &rule.Reply{Code: 554, Enhanced: "5.6.1", Text: "No programs, please"}, Stop: true,
	}}, got)
	require.Error(t, yaml.UnmarshalWithOptions([]byte("- sender_match: x"), &got, yaml.Strict()))
}
