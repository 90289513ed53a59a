package imap_test

import (
	"context"
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

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// mailCount is how many messages a client reads: 10,000 with IMAP_FULL=1.
func mailCount() int {
	if os.Getenv("IMAP_FULL") != "" {
		return 10_000
	}
	return 400
}

// readable are the messages of the corpus that a client stores byte for byte: those that are mail by RFC 5322, as far as
// line ends and characters go.
func readable(t *testing.T, n int) []string {
	t.Helper()
	return slices.DeleteFunc(corpus(t, n), func(raw string) bool {
		_, _, whole := strings.Cut(raw, "\r\n\r\n")
		return strings.Contains(raw, "\x00") || strings.Contains(strings.ReplaceAll(raw, "\r\n", ""), "\r") || !whole ||
			!strings.HasSuffix(raw, "\r\n") || strings.Contains(raw, "a line that is no field")
	})
}

// clientSite has a mailbox full of mail, on SQLite.
func clientSite(t *testing.T) (*site, []string) {
	t.Helper()
	raws := readable(t, mailCount())
	x := newSite(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}), "bob")
	x.deliver(t, "bob", store.Inbox, raws...)
	return x, raws
}

func (x *site) port(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(x.addr)
	require.NoError(t, err)
	return port
}

// run runs a client and wants it to succeed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TERM=xterm")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
	return string(out)
}

func write(t *testing.T, name, format string, args ...any) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(fmt.Sprintf(format, args...)), 0o600))
}

// maildir reads all messages of a maildir, with CRLF, sorted.
func maildir(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	for _, sub := range []string{"new", "cur"} {
		files, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		require.NoError(t, err)
		for _, name := range files {
			raw, err := os.ReadFile(name) // #nosec G304 -- what the client wrote
			require.NoError(t, err)
			list = append(list, crlf(string(raw)))
		}
	}
	slices.Sort(list)
	return list
}

// sameMail compares what a client has with what was delivered.
func sameMail(t *testing.T, want, got []string) {
	t.Helper()
	require.Len(t, got, len(want))
	want = slices.Sorted(slices.Values(want))
	for i := range want {
		require.Equal(t, want[i], got[i])
	}
}

const newMail = "Return-Path: <a@sender.test>\r\nFrom: a@sender.test\r\nSubject: new\r\n\r\njust came\r\n"

func TestMbsyncReadsTheMailboxWhole(t *testing.T) {
	t.Parallel()
	mbsync := program(t, "mbsync")
	x, raws := clientSite(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rc"), `IMAPStore far
Host 127.0.0.1
Port %s
User bob@acme.test
Pass "%s"
SSLType None
AuthMechs *

MaildirStore near
Path %[3]s/mail/
Inbox %[3]s/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Sync Pull
Create Near
SyncState *
`, x.port(t), password, dir)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "mail"), 0o700))
	run(t, dir, mbsync, "-c", filepath.Join(dir, "rc"), "-a")
	sameMail(t, raws, mbsynced(t, dir))
	require.DirExists(t, filepath.Join(dir, "mail/Trash"))

	x.deliver(t, "bob", store.Inbox, newMail)
	run(t, dir, mbsync, "-c", filepath.Join(dir, "rc"), "-a")
	sameMail(t, append(raws, newMail), mbsynced(t, dir))
}

// mbsynced is what mbsync wrote, without the field that it adds to each message.
func mbsynced(t *testing.T, dir string) []string {
	t.Helper()
	list := maildir(t, filepath.Join(dir, "mail/INBOX"))
	for i, raw := range list {
		list[i] = withoutFields(raw, "X-TUID")
	}
	slices.Sort(list)
	return list
}

func TestOfflineIMAPReadsTheMailboxWhole(t *testing.T) {
	t.Parallel()
	offlineimap := program(t, "offlineimap")
	// OfflineIMAP mends what it thinks is broken, so it gets only mail that is not.
	raws := wellFormed(mailCount())
	x := newSite(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}), "bob")
	x.deliver(t, "bob", store.Inbox, raws...)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rc"), `[general]
accounts = a
metadata = %[3]s/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %[3]s/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = %[1]s
remoteuser = bob@acme.test
remotepass = %[2]s
ssl = no
starttls = no
readonly = True
createfolders = False
`, x.port(t), password, dir)
	run(t, dir, offlineimap, "-1", "-o", "-u", "basic", "-c", filepath.Join(dir, "rc"))
	sameMail(t, raws, maildir(t, filepath.Join(dir, "mail/INBOX")))

	x.deliver(t, "bob", store.Inbox, newMail)
	run(t, dir, offlineimap, "-1", "-o", "-u", "basic", "-c", filepath.Join(dir, "rc"))
	sameMail(t, append(raws, newMail), maildir(t, filepath.Join(dir, "mail/INBOX")))
}

func TestPythonReadsTheMailboxWhole(t *testing.T) {
	t.Parallel()
	python := program(t, "python3")
	x, raws := clientSite(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "read.py"), `import imaplib, os, sys
imaplib._MAXLINE = 100000000
m = imaplib.IMAP4("127.0.0.1", %s)
m.login("bob@acme.test", "%s")
print(m.list(), m.namespace(), m.status("INBOX", "(MESSAGES UNSEEN)"))
typ, n = m.select("INBOX", readonly=False) if False else m.select("INBOX", readonly=True)
assert typ == "OK", n
os.makedirs("out/new")
def read(uids):
    typ, data = m.uid("FETCH", uids, "(UID FLAGS BODY[])")
    assert typ == "OK", data
    for d in data:
        if isinstance(d, tuple):
            open("out/new/" + d[0].decode().split("UID ")[1].split(" ")[0], "wb").write(d[1])
read("1:*")
last = max(int(n) for n in os.listdir("out/new"))
print("READY", flush=True)
sys.stdin.readline()
m.noop()
read("%%d:*" %% (last + 1))
typ, data = m.uid("STORE", "1", "+FLAGS", "(\\Seen)")
assert typ == "NO" and b"NOPERM" in data[0], data
typ, data = m.append("INBOX", None, None, b"Subject: x\r\n\r\nx\r\n")
assert typ == "NO" and b"NOPERM" in data[0], data
typ, data = m.search(None, "ALL")
assert len(data[0].split()) == last + 1, data
m.close()
m.logout()
`, x.port(t), password)
	cmd := exec.CommandContext(t.Context(), python, "read.py") // #nosec G204 -- our own script
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = testWriter{t}
	require.NoError(t, cmd.Start())
	var told strings.Builder
	for b := make([]byte, 4096); !strings.Contains(told.String(), "READY"); {
		n, err := stdout.Read(b)
		told.Write(b[:n])
		require.NoError(t, err, told.String())
	}
	x.deliver(t, "bob", store.Inbox, newMail)
	_, err = stdin.Write([]byte("\n"))
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), told.String())
	sameMail(t, append(raws, newMail), maildir(t, filepath.Join(dir, "out")))
}

func TestMuttReadsTheMailboxWhole(t *testing.T) {
	t.Parallel()
	mutt, script := program(t, "mutt"), program(t, "script")
	x, raws := clientSite(t)
	read := func() []string {
		dir := t.TempDir()
		for _, sub := range []string{"cur", "new", "tmp"} {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "out", sub), 0o700))
		}
		write(t, filepath.Join(dir, "rc"), `set folder="imap://bob%%40acme.test@127.0.0.1:%s/"
set spoolfile="+INBOX"
set imap_pass="%s"
set ssl_starttls=no ssl_force_tls=no mbox_type=Maildir confirmappend=no confirmcreate=no quit=yes delete=no mark_old=no
set header_cache="" wait_key=no imap_check_subscribed=no copy=no
push "<tag-pattern>~A<enter><tag-prefix><copy-message>%s/out<enter><quit>"
`, x.port(t), password, dir)
		run(t, dir, script, "-qec", mutt+" -F "+filepath.Join(dir, "rc"), "/dev/null")
		got := maildir(t, filepath.Join(dir, "out"))
		for i, raw := range got { // mutt writes a Content-Length of its own, and Lines
			got[i] = withoutFields(raw, "Content-Length", "Lines")
		}
		return slices.Sorted(slices.Values(got))
	}
	sameMail(t, raws, read())
	x.deliver(t, "bob", store.Inbox, newMail)
	sameMail(t, append(raws, newMail), read())
}

func withoutFields(raw string, names ...string) string {
	header, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := slices.DeleteFunc(strings.Split(header, "\r\n"), func(line string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(line, name+":") })
	})
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}
