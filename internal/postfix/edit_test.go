package postfix_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/internal/postfix"
)

const sampleMain = `# comment
  # indented comment
myhostname = mx.example.test

mydestination = $myhostname,
    localhost,
# in between

	localhost.localdomain
smtpd_milters=inet:localhost:8891
virtual_alias_maps = a
virtual_alias_maps = b
`

func TestMainIsReadAsPostfixReadsIt(t *testing.T) {
	m := postfix.ParseMain(sampleMain)
	for name, want := range map[string]string{
		"myhostname": "mx.example.test", "smtpd_milters": "inet:localhost:8891", "virtual_alias_maps": "b",
	} {
		got, ok := m.Get(name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	got, _ := m.Get("mydestination")
	require.Equal(t, []string{"$myhostname", "localhost", "localhost.localdomain"}, postfix.Fields(got))
	_, ok := m.Get("localhost")
	require.False(t, ok)
}

func TestSettingAParameterLeavesAllElseAlone(t *testing.T) {
	m := postfix.ParseMain(sampleMain)
	m.Set("mydestination", "one,\n two")
	m.Set("new", "x")
	m.Set("virtual_alias_maps", "c")
	require.Equal(t, `# comment
  # indented comment
myhostname = mx.example.test

mydestination = one,  two
smtpd_milters=inet:localhost:8891
virtual_alias_maps = a
virtual_alias_maps = c
new = x
`, m.String())
	m.Remove("new")
	m.Remove("absent")
	require.NotContains(t, m.String(), "new")
}

func TestMainWithoutAFinalLineBreakCanGrow(t *testing.T) {
	m := postfix.ParseMain("a = 1")
	m.Set("b", "")
	require.Equal(t, "a = 1\nb =\n", m.String())
}

func TestTextThatContinuesNothingIsKeptAndIgnored(t *testing.T) {
	m := postfix.ParseMain("  a = 1\n\n  b = 2\nc = 3\n")
	_, ok := m.Get("a")
	require.False(t, ok)
	m.Set("a", "4")
	require.Equal(t, "  a = 1\n\n  b = 2\nc = 3\na = 4\n", m.String())
}

func TestFieldsKeepBracesTogether(t *testing.T) {
	require.Equal(t, []string{"{ inet:h:1, default_action=accept }", "unix:x", "inline:{a={b, c}}"},
		postfix.Fields(" { inet:h:1, default_action=accept },unix:x\n inline:{a={b, c}}"))
	require.Equal(t, []string{"a}", "b"}, postfix.Fields("a} b"))
	require.Equal(t, []string{"{a b"}, postfix.Fields("{a b"))
	require.Empty(t, postfix.Fields(" ,\t\n"))
}

const sampleMaster = `# service type
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       -       -       -       smtpd
  -o syslog_name=postfix/submission
# a comment inside
  -o smtpd_milters=inet:localhost:8891 -ocontent_filter=
  -o { smtpd_sender_restrictions = permit_sasl_authenticated, reject }
# a comment after
flags=DRhu
local     unix  -       n       n       -       -       local
`

func TestMasterIsReadAsPostfixReadsIt(t *testing.T) {
	services := postfix.ParseMaster(sampleMaster).Services()
	require.Len(t, services, 3)
	require.Equal(t, postfix.Service{
		Name: "submission", Type: "inet", Chroot: "-", Processes: "-", Command: "smtpd", Line: 3, Options: map[string]string{
			"syslog_name": "postfix/submission", "smtpd_milters": "inet:localhost:8891", "content_filter": "",
			"smtpd_sender_restrictions": "permit_sasl_authenticated, reject",
		},
	}, services[1])
	require.Equal(t, "local/unix", services[2].Key())
	require.Equal(t, 10, services[2].Line)
}

func TestSettingAnOptionChangesItsOwnPlaceOnly(t *testing.T) {
	m := postfix.ParseMaster(sampleMaster)
	require.True(t, m.SetOption("submission/inet", "smtpd_milters", "$ours,inet:localhost:8891"))
	require.True(t, m.SetOption("submission/inet", "content_filter", "a b"))
	require.True(t, m.SetOption("submission/inet", "smtpd_sender_restrictions", "reject"))
	require.True(t, m.SetOption("local/unix", "mailbox_transport", ""))
	require.False(t, m.SetOption("absent/unix", "a", "b"))
	require.Equal(t, strings.NewReplacer(
		"smtpd_milters=inet", "smtpd_milters=$ours,inet",
		"-ocontent_filter=", "-o { content_filter = a b }",
		"{ smtpd_sender_restrictions = permit_sasl_authenticated, reject }", "smtpd_sender_restrictions=reject",
		"-       local\n", "-       local\n  -o mailbox_transport=\n",
	).Replace(sampleMaster), m.String())
}

// lines are what configuration files are made of.
var lines = rapid.SampledFrom([]string{
	"a = 1\n", "a=2\r\n", "b = x, y\n", "  c\n", "\tc = 1\n", "# a = 1\n", "  # x\n", "\n", " \n", "name without sign\n", "= v\n",
	"smtp inet n - y - - smtpd\n", "  -o a=b\n", "  -o { a = b c }\n", "  -o\n", "s unix - - - - - lmtp -o a=", "{ } { \n", "\x00\xff\n", "x",
})

func TestFilesGoThroughUnchangedAndEditsComeOutAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(lines).Draw(t, "lines"), "")
		value := rapid.SampledFrom([]string{"", "v", "{ a b }, $c"}).Draw(t, "value")
		checkMain(t, text, "a", value)
		checkMaster(t, text, "a", value)
	})
}

// checkMain holds what must be true of every main.cf.
func checkMain(t require.TestingT, text, name, value string) {
	m := postfix.ParseMain(text)
	require.Equal(t, text, m.String())
	others := map[string]string{}
	for _, n := range []string{"b", "c", "="} {
		others[n], _ = m.Get(n)
	}
	_, had := m.Get(name)
	m.Set(name, value)
	again := postfix.ParseMain(m.String())
	got, ok := again.Get(name)
	require.True(t, ok)
	require.Equal(t, value, got)
	for n, want := range others {
		got, _ := again.Get(n)
		require.Equal(t, want, got)
	}
	if !had {
		m.Remove(name)
		require.Equal(t, strings.TrimSuffix(text, "\n"), strings.TrimSuffix(m.String(), "\n"))
	}
}

// checkMaster holds what must be true of every master.cf.
func checkMaster(t require.TestingT, text, name, value string) {
	m := postfix.ParseMaster(text)
	require.Equal(t, text, m.String())
	for _, s := range m.Services() {
		if !m.SetOption(s.Key(), name, value) { // malformed
			require.Equal(t, text, m.String())
			continue
		}
		text = m.String()
		again := postfix.ParseMaster(m.String())
		require.Len(t, again.Services(), len(m.Services()))
		for _, n := range again.Services() {
			if n.Key() == s.Key() {
				s = n // of several with one key the last is changed
			}
		}
		require.Equal(t, value, s.Options[name])
	}
}

func FuzzMainCF(f *testing.F) {
	f.Add(sampleMain, "x")
	f.Add("a = 1\n  b\n#\n \n c", "{ y }")
	f.Add("  a=1\n=\n", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		value = strings.Join(postfix.Fields(value), ", ")
		if strings.ContainsAny(value, "\r\n") {
			return // within braces
		}
		checkMain(t, text, "a", strings.Trim(value, " \t\v\f"))
		postfix.Fields(text)
	})
}

func FuzzMasterCF(f *testing.F) {
	f.Add(sampleMaster, "x")
	f.Add("a inet - - - - - smtpd -o", "y z")
	f.Add("a inet - - - - - smtpd -o {\n a = b\n#}\n }", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		require.Equal(t, text, postfix.ParseMaster(text).String())
		if strings.ContainsAny(value, "{}\r\n\t\v\f ") {
			return // braces must match
		}
		checkMaster(t, text, "a", value)
	})
}

func FuzzRecipients(f *testing.F) {
	f.Add("a@b.test\n# x\n\nc@d.test # y\n")
	f.Add("a b@c\n@\n<a@b>\n")
	f.Add("a@b.test\u3000c@d.test\na@b\u0085c\na\x00@b.test\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := postfix.ReadRecipients(strings.NewReader(text))
		if err != nil {
			return
		}
		require.NotEmpty(t, list)
		for _, r := range list {
			require.NotContains(t, r.Address, "\n")
			require.Len(t, strings.Fields(r.Address), 1)
			require.Positive(t, r.Line)
		}
	})
}

func TestRecipientsNameTheirBadLines(t *testing.T) {
	list, err := postfix.ReadRecipients(strings.NewReader("# pilot\nBob@Example.test\n\nhanako@example.test # first\n"))
	require.NoError(t, err)
	require.Equal(t, []postfix.Recipient{{Address: "bob@example.test", Line: 2}, {Address: "hanako@example.test", Line: 4}}, list)
	_, err = postfix.ReadRecipients(strings.NewReader("bob\nbob@a.test\na@b@c\nbob@a.test\nBob <bob@b.test>\n山\u3000田@b.test\n"))
	require.EqualError(t, err, `line 1: "bob" is not an address: write user@domain
line 3: "a@b@c" has more than one @: write one address on a line
line 4: bob@a.test stands on line 2 already
line 5: "bob <bob@b.test>": write one bare address on a line
line 6: "山\u3000田@b.test": write one bare address on a line`)
	_, err = postfix.ReadRecipients(strings.NewReader("#\n"))
	require.EqualError(t, err, "it has no address")
	_, err = postfix.ReadRecipients(strings.NewReader(strings.Repeat("x", 5000)))
	require.ErrorContains(t, err, "line 1")
}
