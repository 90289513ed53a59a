package imap_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// program finds an installed program. Without it the test is skipped loudly; with CI=true it fails.
func program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed (make install-services)", names[0])
	}
	t.Skipf("SKIPPED: %s is not installed (make install-services)", names[0])
	return ""
}

// nobody may read mail in Dovecot's eyes; root may not.
const nobody = 65534

// dovecot is Dovecot's IMAP process over a maildir of these messages, logged in.
func dovecot(t testing.TB, raws []string) *wire {
	t.Helper()
	imapd := program(t, "/usr/lib/dovecot/imap", "/usr/libexec/dovecot/imap")
	dir := labtest.ShortDir(t)
	writeMaildir(t, filepath.Join(dir, "mail"), raws)
	uid := os.Getuid()
	if uid == 0 {
		uid = nobody
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		}))
	}
	conf := fmt.Sprintf("base_dir = %[1]s/run\nssl = no\nmail_location = maildir:%[1]s/mail\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n"+
		"mail_uid = %[2]d\nmail_gid = %[2]d\nimap_idle_notify_interval = 1 min\n", dir, uid)
	file := filepath.Join(dir, "dovecot.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), imapd, "-c", file)
	cmd.Env = append(os.Environ(), "USER=bob", "HOME="+dir)
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	require.NoError(t, cmd.Start())
	require.NoError(t, theirIn.Close())
	require.NoError(t, theirOut.Close())
	nc := pipes{out, in}
	t.Cleanup(func() {
		_, _ = in.Close(), out.Close()
		_ = cmd.Wait() // it ends with its connection
	})
	w := &wire{t: t, Conn: nc, r: bufio.NewReader(nc)}
	require.Contains(t, w.line(), "* PREAUTH")
	return w
}

// pipes are a connection of two pipes.
type pipes struct {
	*os.File
	in *os.File
}

func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p pipes) LocalAddr() net.Addr         { return &net.UnixAddr{} }
func (p pipes) RemoteAddr() net.Addr        { return &net.UnixAddr{} }

func writeMaildir(t testing.TB, dir string, raws []string) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755)) // #nosec G301 -- another user reads it
	}
	for i, raw := range raws {
		name := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.lab:2,", 1_700_000_000+i, i))
		require.NoError(t, os.WriteFile(name, []byte(raw), 0o644)) // #nosec G306 -- as above
	}
}

// TestSameAsDovecot compares with Dovecot 2.3 over mail of many kinds, broken ones too. BODY[] and
// RFC822.SIZE must be the same; of ENVELOPE and BODYSTRUCTURE 99 % must. Each difference
// is logged. Two that are meant are not in this corpus: a message without CRs (Dovecot adds them, we give what is stored; LMTP
// stores CRLF), and MIME trees beyond our bounds or Dovecot's.
func TestSameAsDovecot(t *testing.T) {
	raws := corpus(t, 520)
	theirs := dovecot(t, raws)
	x := newSite(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}), "bob")
	x.deliver(t, "bob", store.Inbox, raws...)
	ours := x.login(t, "bob")
	ours.ok("SELECT INBOX")
	theirs.ok("SELECT INBOX")
	same := map[string]int{}
	for i, raw := range raws {
		for _, item := range []string{"RFC822.SIZE", "BODY.PEEK[]", "ENVELOPE", "BODYSTRUCTURE", "BODY"} {
			a, b := ours.ok("FETCH %d (%s)", i+1, item), theirs.ok("FETCH %d (%s)", i+1, item)
			require.Len(t, a, 1)
			require.Len(t, b, 1)
			if reflect.DeepEqual(parse(t, a[0]), parse(t, b[0])) {
				same[item]++
				continue
			}
			ours, theirs := difference(parse(t, a[0]), parse(t, b[0]))
			t.Logf("message %d, %s:\nours   %q\ntheirs %q\n%s", i+1, item, ours, theirs, raw)
			require.Contains(t, []string{"ENVELOPE", "BODYSTRUCTURE", "BODY"}, item, "message %d", i+1)
		}
	}
	for item, n := range same {
		t.Logf("%s: %d of %d the same (%.2f %%)", item, n, len(raws), 100*float64(n)/float64(len(raws)))
	}
	require.GreaterOrEqual(t, float64(same["ENVELOPE"]), 0.99*float64(len(raws)))
	require.GreaterOrEqual(t, float64(same["BODYSTRUCTURE"]), 0.99*float64(len(raws)))
}

// parse turns a response into lists and strings: quoted strings and literals are the same then.
func parse(t testing.TB, response string) any {
	t.Helper()
	rest := response
	var list func() []any
	value := func() any {
		switch rest[0] {
		case '(':
			rest = rest[1:]
			return list()
		case '"':
			var s strings.Builder
			for i := 1; ; i++ {
				if rest[i] == '"' {
					rest = rest[i+1:]
					return "s" + s.String()
				}
				if rest[i] == '\\' {
					i++
				}
				s.WriteByte(rest[i])
			}
		case '{':
			end := strings.Index(rest, "}\r\n")
			n, err := strconv.Atoi(rest[1:end])
			require.NoError(t, err)
			s := rest[end+3 : end+3+n]
			rest = rest[end+3+n:]
			return "s" + s
		}
		end := strings.IndexAny(rest, " ()")
		if end < 0 {
			end = len(rest)
		}
		s := rest[:end]
		rest = rest[end:]
		return "a" + s
	}
	list = func() []any {
		all := []any{}
		for rest != "" && rest[0] != ')' {
			all = append(all, value())
			rest = strings.TrimPrefix(rest, " ")
		}
		rest = strings.TrimPrefix(rest, ")")
		return all
	}
	return list()
}

// difference is the smallest list in which two responses differ.
func difference(a, b any) (any, any) {
	x, okX := a.([]any)
	y, okY := b.([]any)
	if !okX || !okY || len(x) != len(y) {
		return a, b
	}
	for i := range x {
		if reflect.DeepEqual(x[i], y[i]) {
			continue
		}
		if _, isList := x[i].([]any); isList {
			return difference(x[i], y[i])
		}
		return x, y
	}
	return a, b
}
