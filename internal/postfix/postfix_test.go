package postfix_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/postfix"
	"github.com/mairust/mairust/lmtp/lookup"
)

// newHost is a configuration directory with these two files; nothing runs.
func newHost(t *testing.T, main, master string) *postfix.Host {
	t.Helper()
	labtest.Program(t, "postconf", "postfix")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "master.cf"), []byte(master), 0o644))
	h, err := postfix.Find(t.Context(), dir)
	require.NoError(t, err)
	cool(t, h)
	h.Now = func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }
	return h
}

// cool gives the files an older date: Postfix's programs read one that is some seconds old again and again.
func cool(t *testing.T, h *postfix.Host) {
	t.Helper()
	old := time.Now().Add(-time.Minute)
	for _, name := range []string{"main.cf", "master.cf"} {
		require.NoError(t, os.Chtimes(filepath.Join(h.Dir, name), old, old))
	}
}

// directory is what MaiRust has.
type directory struct{ domains, mailboxes []string }

func (d directory) Domain(_ context.Context, name string) (bool, error) {
	return slices.Contains(d.domains, name), nil
}

func (d directory) Mailbox(_ context.Context, address string) (bool, error) {
	return slices.Contains(d.mailboxes, address), nil
}

// unsure is a directory that does not know for certain who has no mailbox.
type unsure struct{ directory }

func (u unsure) Mailbox(ctx context.Context, address string) (bool, error) {
	if known, err := u.directory.Mailbox(ctx, address); known || err != nil {
		return known, err
	}
	return false, postfix.ErrUncertain
}

var known = directory{[]string{"example.test"}, []string{"bob@example.test"}}

// options are those of a site with everything on loopback.
func options(mode postfix.Mode) postfix.Options {
	return postfix.Options{
		Mode: mode, LMTP: "inet:127.0.0.1:2424", Lookup: "inet:127.0.0.1:8899", Milter: "inet:127.0.0.1:8898",
		Directory: known, RecipientDelimiter: "+",
	}
}

func plan(t *testing.T, h *postfix.Host, o postfix.Options) (*postfix.Baseline, *postfix.Plan, error) {
	t.Helper()
	b, err := h.Undo()
	require.NoError(t, err)
	site, err := h.Read(t.Context(), postfix.ParseMain(b.Main), postfix.ParseMaster(b.Master))
	require.NoError(t, err)
	p, err := postfix.Make(t.Context(), site, o)
	return b, p, err
}

// added are the parameters of a plan, with their values.
func added(p *postfix.Plan) map[string]string {
	out := map[string]string{}
	for _, s := range p.Settings {
		if s.File == "main.cf" {
			name, value, _ := strings.Cut(s.Line, " =")
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

func notes(p *postfix.Plan) string {
	var b strings.Builder
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "%v %s | %s\n", n.Warn, n.Text, n.Mend)
	}
	return b.String()
}

const virtualMain = "compatibility_level = 3.6\nmydestination =\nvirtual_mailbox_domains = example.test\nvirtual_mailbox_maps = inline:{{bob@example.test=x}}\n"

const plainMaster = "smtp inet n - n - - smtpd\nvirtual unix - n n - - virtual\nlmtp unix - - n - - lmtp\nlocal unix - n n - - local\n"

func TestPlanForAVirtualDomain(t *testing.T) {
	_, p, err := plan(t, newHost(t, virtualMain, plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"virtual_transport":      "lmtp:inet:127.0.0.1:2424",
		"virtual_mailbox_maps":   "socketmap:inet:127.0.0.1:8899:mailboxes",
		"mairust_milter":         "{ inet:127.0.0.1:8898, default_action=tempfail }",
		"smtpd_milters":          "$mairust_milter",
		"smtp_header_checks":     "regexp:$config_directory/mairust/header_checks.regexp",
		"lmtp_line_length_limit": "0",
	}, added(p))
	require.Equal(t, plainMaster, p.Master())
	require.Contains(t, notes(p), "no milter listener with the role local")
}

func TestRecipientsThatMaiRustLacksAreNamed(t *testing.T) {
	var users strings.Builder
	for i := range 12 {
		fmt.Fprintf(&users, ",{user%d@example.test=x}", i)
	}
	main := strings.Replace(virtualMain, "inline:{{bob@example.test=x}}", "inline:{{bob@example.test=x},{@example.test=x},{kim@other.test=x}"+users.String()+"}", 1)
	_, p, err := plan(t, newHost(t, main, "smtp inet n - n - - smtpd\n"), options(postfix.Replace))
	require.NoError(t, err)
	require.Contains(t, notes(p), "refused: user0@example.test, user10@example.test, user11@example.test, user1@example.test, user2@example.test, ")
	require.Contains(t, notes(p), ", user7@example.test and 2 more | mairust init --mailbox makes them")
	require.NotContains(t, notes(p), "bob@")
	require.NotContains(t, notes(p), "kim@")
	require.Contains(t, p.Master(), "lmtp      unix ", "the LMTP client is put back where it was taken out")
}

func TestPlanNeedsADomainOfBoth(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster)
	o := options(postfix.Replace)
	o.Directory = directory{}
	_, _, err := plan(t, h, o)
	require.ErrorIs(t, err, postfix.ErrNoDomain)
	require.ErrorContains(t, err, "virtual_mailbox_domains: example.test; mydestination: none that can be listed")
	o.Directory = nil
	_, _, err = plan(t, h, o)
	require.ErrorIs(t, err, postfix.ErrNotAsked)
	o.Domains = []string{"Example.test"}
	_, p, err := plan(t, h, o)
	require.NoError(t, err)
	require.Equal(t, []string{"example.test"}, p.Domains)
	o.Domains = []string{"other.test"}
	_, _, err = plan(t, h, o)
	require.ErrorContains(t, err, "takes no mail for other.test")
	o.Directory = known
	_, _, err = plan(t, h, o)
	require.ErrorContains(t, err, "mairust init --domain other.test")
	_, _, err = plan(t, newHost(t, "mydestination =\nrelay_domains = example.test\n", plainMaster), options(postfix.Replace))
	require.ErrorIs(t, err, postfix.ErrNoDomain)
	o = options(postfix.Replace)
	o.Domains = []string{"example.test"}
	_, _, err = plan(t, newHost(t, "mydestination =\nrelay_domains = example.test\n", plainMaster), o)
	require.ErrorContains(t, err, "is in relay_domains")
	o.Mode = "all"
	_, _, err = plan(t, h, o)
	require.ErrorContains(t, err, "unknown mode")
}

func TestDomainsOfTablesAndFilesAreListed(t *testing.T) {
	list := filepath.Join(t.TempDir(), "domains")
	require.NoError(t, os.WriteFile(list, []byte("# ours\nexample.test x\nstays.test x\n"), 0o644))
	for value, whole := range map[string]bool{
		"texthash:" + list: false, "inline:{{example.test=1}}": true, "example.test, regexp:/nowhere": false,
	} {
		_, p, err := plan(t, newHost(t, strings.Replace(virtualMain, "= example.test", "= "+value, 1), plainMaster), options(postfix.Replace))
		require.NoError(t, err, value)
		_, switched := added(p)["virtual_transport"]
		require.Equal(t, whole, switched, value)
		_, routed := added(p)["transport_maps"]
		require.Equal(t, !whole, routed, value)
	}
}

func TestMiltersAndTheirOverrides(t *testing.T) {
	main := virtualMain + "smtpd_milters = inet:localhost:8891, unix:rspamd/milter.sock\nnon_smtpd_milters = $smtpd_milters\n" +
		"content_filter = amavis:[127.0.0.1]:10024\nrecipient_delimiter = -\nreceive_override_options = no_milters\nsmtp_header_checks = regexp:/x\n" +
		"smtpd_milter_maps = cidr:/x\nlmtp_tls_security_level = encrypt\nmessage_size_limit = 0\n"
	master := plainMaster + `submission inet n - n - - smtpd
  -o smtpd_milters=inet:localhost:8891
  -o receive_override_options=no_milters,no_unknown_recipient_checks
smtps inet n - n - - smtpd -o smtpd_milters=
127.0.0.1:10025 inet n - n - - smtpd
  -o content_filter= -o smtpd_milters=
relay unix - - n - - smtp -o smtp_header_checks=
`
	o := options(postfix.Replace)
	o.MaxMessageBytes = 1000
	o.Adapt = func(s postfix.Service) bool { return s.Name != "smtps" }
	_, p, err := plan(t, newHost(t, main, master), o)
	require.NoError(t, err)
	got := added(p)
	require.Equal(t, "$mairust_milter, inet:localhost:8891, unix:rspamd/milter.sock", got["smtpd_milters"])
	require.Equal(t, "inet:localhost:8891, unix:rspamd/milter.sock", got["non_smtpd_milters"])
	require.Equal(t, "regexp:$config_directory/mairust/header_checks.regexp, regexp:/x", got["smtp_header_checks"])
	require.Contains(t, p.Master(), "-o smtpd_milters=$mairust_milter,inet:localhost:8891\n  -o receive_override_options=no_unknown_recipient_checks\n")
	require.Contains(t, p.Master(), "smtps inet n - n - - smtpd -o smtpd_milters=\n")
	for _, want := range []string{
		"before the DKIM signer inet:localhost:8891", "rspamd is a milter of this Postfix already (unix:rspamd/milter.sock)",
		"content_filter is amavis", "receive_override_options has no_milters", "smtpd_milter_maps replaces", "recipient_delimiter is",
		"lmtp_tls_security_level is encrypt", "message_size_limit is 0", "smtps has overrides that bypass", "127.0.0.1:10025 takes mail back",
		"relay has smtp_header_checks of its own",
	} {
		require.Contains(t, notes(p), want)
	}
	o.LocalMilter, o.MilterAction = "inet:127.0.0.1:8897", "accept"
	_, p, err = plan(t, newHost(t, main, master), o)
	require.NoError(t, err)
	require.Equal(t, "$mairust_local_milter, inet:localhost:8891, unix:rspamd/milter.sock", added(p)["non_smtpd_milters"])
	require.Equal(t, "{ inet:127.0.0.1:8897, default_action=accept }", added(p)["mairust_local_milter"])
}

func TestMasterIsReadAsPostconfReadsIt(t *testing.T) {
	text, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	if err != nil {
		t.Skip("Debian's master.cf is not here")
	}
	h := newHost(t, "", string(text))
	out, err := exec.CommandContext(t.Context(), "postconf", "-c", h.Dir, "-M").Output()
	require.NoError(t, err)
	want := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var keys []string
	for _, line := range want {
		if f := strings.Fields(string(line)); !strings.HasPrefix(string(line), " ") && len(f) > 1 {
			keys = append(keys, f[0]+"/"+f[1])
		}
	}
	var got []string
	for _, s := range postfix.ParseMaster(string(text)).Services() {
		got = append(got, s.Key())
	}
	require.Equal(t, keys, got)

	master := strings.Replace(sampleMaster, "-ocontent_filter", "-o content_filter", 1) + "lmtp unix - - n - - lmtp\n"
	h = newHost(t, "", strings.Replace(master, "flags=DRhu\n", "", 1))
	out, err = exec.CommandContext(t.Context(), "postconf", "-c", h.Dir, "-P").Output()
	require.NoError(t, err)
	overrides := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(line, " =")
		overrides[name] = strings.TrimSpace(value)
	}
	found := map[string]string{}
	for _, s := range postfix.ParseMaster(master).Services() {
		for name, value := range s.Options {
			found[s.Key()+"/"+name] = value
		}
	}
	require.Equal(t, overrides, found)
}

// apply writes a plan. It needs root, as Postfix's own check does.
func apply(t *testing.T, h *postfix.Host, o postfix.Options) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("postfix check needs root")
	}
	b, p, err := plan(t, h, o)
	require.NoError(t, err)
	require.True(t, h.Changed(b, p))
	require.NotEmpty(t, h.Diff(b, p.Main(), p.Master()))
	_, err = h.Apply(t.Context(), b, p)
	require.NoError(t, err)
	cool(t, h)
	b, p, err = plan(t, h, o)
	require.NoError(t, err)
	require.False(t, h.Changed(b, p), "a second time changes nothing")
}

func read(t *testing.T, h *postfix.Host, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir, name))
	require.NoError(t, err)
	return string(text)
}

func TestApplyKeepsModeOwnerAndLinks(t *testing.T) {
	real := filepath.Join(t.TempDir(), "main.cf")
	h := newHost(t, virtualMain, plainMaster)
	require.NoError(t, os.Rename(filepath.Join(h.Dir, "main.cf"), real))
	require.NoError(t, os.Symlink(real, filepath.Join(h.Dir, "main.cf")))
	require.NoError(t, os.Chmod(real, 0o640))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(real, 0, 65534))
	}
	apply(t, h, options(postfix.Replace))
	info, err := os.Lstat(filepath.Join(h.Dir, "main.cf"))
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	info, err = os.Stat(real)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	b, err := h.Undo()
	require.NoError(t, err)
	require.True(t, b.Exact)
	require.NoError(t, h.Revert(b))
	require.Equal(t, virtualMain, read(t, h, "main.cf"))
	entries, err := os.ReadDir(h.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing of ours is left: %v", entries)
}

func TestNothingIsWrittenOverANewerFile(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster)
	if os.Geteuid() != 0 {
		t.Skip("postfix check needs root")
	}
	b, p, err := plan(t, h, options(postfix.Replace))
	require.NoError(t, err)
	newer := virtualMain + "# newer\n"
	require.NoError(t, os.WriteFile(filepath.Join(h.Dir, "main.cf"), []byte(newer), 0o644))
	_, err = h.Apply(t.Context(), b, p)
	require.ErrorContains(t, err, "changed in the meantime")
	require.Equal(t, newer, read(t, h, "main.cf"))
	require.NoDirExists(t, filepath.Join(h.Dir, "mairust"))
}

func TestPostfixRefusesWhatItCannotRead(t *testing.T) {
	h := newHost(t, virtualMain+"mail_owner = root\n", plainMaster)
	if os.Geteuid() != 0 {
		t.Skip("postfix check needs root")
	}
	b, p, err := plan(t, h, options(postfix.Replace))
	require.NoError(t, err)
	_, err = h.Apply(t.Context(), b, p)
	require.ErrorContains(t, err, "postfix refuses the new configuration, so nothing was changed")
	require.Equal(t, b.CurrentMain, read(t, h, "main.cf"))
}

func TestReachOfSockets(t *testing.T) {
	queue := t.TempDir()
	for _, name := range []string{filepath.Dir(queue), queue} {
		require.NoError(t, os.Chmod(name, 0o755))
	}
	site := func(master string) *postfix.Site {
		h := newHost(t, "compatibility_level = 3.6\nmail_owner = nobody\nqueue_directory = "+queue+"\n", master)
		s, err := h.Read(t.Context(), postfix.ParseMain(read(t, h, "main.cf")), postfix.ParseMaster(master))
		require.NoError(t, err)
		return s
	}
	jailed, free := site("smtp inet n - y - - smtpd\nlmtp unix - - - - - lmtp\n"), site("smtp inet n - - - - smtpd\n")
	for address, want := range map[string]string{"inet:127.0.0.1:1": "inet:127.0.0.1:1", "unix:" + queue + "/m/x": "unix:m/x"} {
		for _, s := range []*postfix.Site{jailed, free} {
			got, err := s.Reach(address)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	_, err := jailed.Reach("inet:localhost:1")
	require.ErrorContains(t, err, "use an IP address")
	_, err = jailed.Reach("unix:/run/mairust/lmtp.sock")
	require.ErrorContains(t, err, `smtpd run chrooted`)
	require.ErrorContains(t, err, queue+"/mairust/lmtp.sock")

	l, err := net.Listen("unix", filepath.Join(queue, "s"))
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.Chmod(filepath.Join(queue, "s"), 0o600))
	_, err = free.Reach("unix:" + queue + "/s")
	require.ErrorContains(t, err, "socket_group: nobody")
	require.NoError(t, os.Chmod(filepath.Join(queue, "s"), 0o666))
	_, err = free.Reach("unix:" + queue + "/s")
	require.NoError(t, err)
}

func TestWhereMailComesIn(t *testing.T) {
	for master, want := range map[string]string{
		"127.0.0.1:2525 inet n - n - - smtpd\n":                                                   "127.0.0.1:2525",
		"[::1]:smtp inet n - n - - smtpd\n":                                                       "[::1]:25",
		"smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n":                            "127.0.0.1:25",
		"10025 inet n - n - - smtpd -o content_filter=\n2525 inet n - n - - smtpd\n":              "127.0.0.1:2525",
		"submission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\nlmtp unix - - n - - lmtp": "",
	} {
		h := newHost(t, "compatibility_level = 3.6\n", master)
		s, err := h.Read(t.Context(), postfix.ParseMain(""), postfix.ParseMaster(master))
		require.NoError(t, err)
		got, err := s.SMTPAddress()
		require.Equal(t, want == "", errors.Is(err, postfix.ErrNoSMTP), master)
		require.Equal(t, want, got)
	}
}

func TestDirectoryIsTheLookupService(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	replies := map[string]string{
		"domains a.test": "OK a.test", "domains b.test": "NOTFOUND ", "domains c.test": "TEMP " + lookup.Unavailable, "domains d.test": "PERM no",
		"mailboxes full@a.test": "TEMP " + lookup.Full, "mailboxes suspended@a.test": "TEMP " + lookup.Suspended,
		"mailboxes nobody@a.test": "TEMP " + lookup.Uncertain, "mailboxes other@a.test": "TEMP some other word",
		"mailboxes info@a.test": "OK bob@a.test",
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 100)
			n, _ := c.Read(buf)
			_, request, _ := strings.Cut(string(buf[:n]), ":")
			reply := replies[strings.TrimSuffix(request, ",")]
			fmt.Fprintf(c, "%d:%s,", len(reply), reply)
			c.Close()
		}
	}()
	d := postfix.Lookup{Address: "inet:" + l.Addr().String()}
	got := map[string]any{}
	for _, name := range []string{"a.test", "b.test", "c.test", "d.test"} {
		found, err := d.Domain(t.Context(), name)
		got[name] = found
		if err != nil {
			got[name] = err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
		}
	}
	require.Equal(t, map[string]any{"a.test": true, "b.test": false, "c.test": "the index is unavailable", "d.test": `it answered "PERM no"`}, got)
	mailbox, found, err := d.Target(t.Context(), "info@a.test")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "bob@a.test", mailbox)
	for _, name := range []string{"full", "suspended"} {
		found, err := d.Mailbox(t.Context(), name+"@a.test")
		require.NoError(t, err)
		require.True(t, found, name)
	}
	found, err = d.Mailbox(t.Context(), "nobody@a.test")
	require.ErrorIs(t, err, postfix.ErrUncertain)
	require.False(t, found)
	_, err = d.Mailbox(t.Context(), "other@a.test")
	require.ErrorContains(t, err, "some other word")
	require.NotErrorIs(t, err, postfix.ErrUncertain)
}

func TestRootIsKeptWhileNobodyIsKnownForCertain(t *testing.T) {
	h := newHost(t, "compatibility_level = 3.6\nmydestination = example.test\nalias_maps = inline:{{postmaster=root}}\n", plainMaster)
	o := options(postfix.Replace)
	o.Directory = unsure{directory{domains: known.domains}}
	_, p, err := plan(t, h, o)
	require.NoError(t, err)
	require.Equal(t, "inline:{{root=mairust-keep:}}", added(p)["mailbox_transport_maps"])
	require.Contains(t, notes(p), "root@example.test has no mailbox in MaiRust and no alias")
	require.Equal(t, 1, strings.Count(notes(p), "it is not certain who has no mailbox"), notes(p))
	require.Contains(t, notes(p), "mairust init --mailbox makes the first")

	o = options(postfix.Pilot)
	o.Directory = unsure{known}
	o.Recipients = []postfix.Recipient{{Address: "bob@example.test", Line: 1}, {Address: "kim@example.test", Line: 2}}
	_, _, err = plan(t, h, o)
	require.ErrorIs(t, err, postfix.ErrUncertain)
	require.ErrorContains(t, err, "line 2: MaiRust knows no mailbox kim@example.test")
	require.NotContains(t, err.Error(), "line 1")
}

func TestFindRefusesWhatItCannotUse(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho mail_version = %s\necho config_directory = " + dir + "\n"
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for version, want := range map[string]string{"3.4.9": "older than 3.5", "2.11": "older than 3.5", "x": "older than 3.5", "3.10-20250101": "main.cf", "4.0": "main.cf"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "postconf"), fmt.Appendf(nil, script, version), 0o755))
		_, err := postfix.Find(t.Context(), "")
		require.ErrorContains(t, err, want, version)
		require.Equal(t, want != "main.cf", errors.Is(err, postfix.ErrTooOld))
	}
}
