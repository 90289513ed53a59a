package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// testSite is an installation in a directory of its own, for tests that run the daemon as a process.
type testSite struct {
	dir, configFile string
	key             string
	// program is the binary; empty means this test's own, which is what mairust is when asMairust is set.
	program string
	// appPasswords are secrets by login, for IMAP.
	appPasswords map[string]string
}

// siteOptions describe a testSite. Milter and Extra are lines of YAML: below `milter:`, indented, and at the top level.
type siteOptions struct {
	Backend string
	// Database is the section `database`, when it is not for the backend to say.
	Database      string
	Milter, Extra string
	// Mailboxes are local parts in example.test; their users have the password "mailbox password".
	Mailboxes []string
	// Program is the binary to run instead of this test's own.
	Program string
	// Dir is where the site is; default a directory of its own.
	Dir string
}

// newTestSite writes a configuration and sets up the domain example.test.
func newTestSite(t testing.TB, o siteOptions) *testSite {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = labtest.ShortDir(t)
	}
	s := &testSite{dir: dir, configFile: filepath.Join(dir, "config.yaml"), program: o.Program}
	database := "backend: sqlite"
	if o.Database != "" {
		database = o.Database
	} else if o.Backend == sqldb.Postgres {
		database = fmt.Sprintf("backend: postgres, url: %q", storetest.Options(t, o.Backend).URL)
	}
	config := fmt.Sprintf(siteConfig, dir, database, o.Milter) + o.Extra
	require.NoError(t, os.WriteFile(s.configFile, []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pw"), []byte("mailbox password\n"), 0o600))
	args := []string{"init", "--tenant", "example", "--domain", "example.test", "--admin", "admin@example.test",
		"--password-file", filepath.Join(dir, "pw")}
	if len(o.Mailboxes) > 0 {
		args = append(args, "--mailbox-password-file", filepath.Join(dir, "pw"))
	}
	for _, local := range o.Mailboxes {
		args = append(args, "--mailbox", local+"@example.test")
	}
	s.run(t, args...)
	s.key = strings.TrimSpace(s.run(t, "apikey", "create", "--role", "super_admin"))
	return s
}

// siteConfig has listeners that nobody else has.
const siteConfig = `data_dir: %[1]s/data
run_dir: %[1]s/run
database: {%[2]s}
milter:
  listeners: [{address: "unix:%[1]s/run/milter.sock", socket_mode: "0666"}, {address: "unix:%[1]s/run/local.sock", role: local, socket_mode: "0666"}]
%[3]s
lmtp:
  listeners: [{address: "unix:%[1]s/run/lmtp.sock", socket_mode: "0666"}]
lookup:
  listeners: [{address: "unix:%[1]s/run/lookup.sock", socket_mode: "0666"}]
imap:
  listeners: [{address: "unix:%[1]s/run/imap.sock"}]
http:
  listeners: [{address: "inet:127.0.0.1:0"}]
ops:
  listeners: [{address: "inet:127.0.0.1:0"}]
shutdown: {timeout_seconds: 5}
`

func (s *testSite) socket(name string) string {
	return "unix:" + filepath.Join(s.dir, "run", name+".sock")
}

// command is mairust with the site's configuration.
func (s *testSite) command(ctx context.Context, args ...string) *exec.Cmd {
	program := s.program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			panic(err)
		}
	}
	cmd := exec.CommandContext(ctx, program, append(args, "--config", s.configFile)...)
	cmd.Env = append(os.Environ(), asMairust+"=1")
	cmd.Dir = s.dir
	// Nothing is left behind when the test process dies.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs an on-host command that must succeed, and returns its standard output.
func (s *testSite) run(t testing.TB, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := s.command(t.Context(), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s%s", args, out, &stderr)
	return string(out)
}

// process is a running daemon.
type process struct {
	site *testSite
	cmd  *exec.Cmd
	http string // base URL of the API
	ops  string // base URL of health and metrics
	done chan struct{}
	// ready gets the listeners, once.
	ready chan string

	mu  sync.Mutex
	log []string
	err error
}

// start runs `mairust run` and waits until it is ready. It is killed at the end of the test.
func (s *testSite) start(t testing.TB) *process {
	t.Helper()
	return s.startAs(t, "run")
}

// startAs is start for a role that runs apart.
func (s *testSite) startAs(t testing.TB, role string) *process {
	t.Helper()
	p := s.launchAs(t, role)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("daemon log:\n%s", p.tail(60))
		}
	})
	require.NoError(t, p.await())
	return p
}

// launch runs `mairust run` without waiting for it; whoever calls it kills it.
func (s *testSite) launch(t testing.TB) *process {
	t.Helper()
	return s.launchAs(t, "run")
}

func (s *testSite) launchAs(t testing.TB, role string) *process {
	t.Helper()
	p := &process{site: s, cmd: s.command(context.Background(), role), done: make(chan struct{}), ready: make(chan string, 1)}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.read(stderr)
		p.err = p.cmd.Wait()
	}()
	return p
}

// startPatience is far more than a start takes, on a machine that has other things to do as well.
const startPatience = 3 * time.Minute

// await waits until the daemon is ready. The error quotes its log.
func (p *process) await() error {
	select {
	case listeners := <-p.ready:
		for _, at := range strings.Fields(listeners) {
			name, address, _ := strings.Cut(at, "=inet:")
			switch name {
			case "http":
				p.http = "http://" + address
			case "ops":
				p.ops = "http://" + address
			}
		}
		return nil
	case <-p.done:
		return fmt.Errorf("the daemon ended at its start: %w\n%s", p.err, p.tail(60))
	case <-time.After(startPatience):
		return fmt.Errorf("the daemon is not ready after %s\n%s", startPatience, p.tail(60))
	}
}

// read collects the log and tells the listeners when the daemon is ready.
func (p *process) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct{ Message, Listeners string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Message == "ready" {
			p.ready <- entry.Listeners
		}
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		p.mu.Unlock()
	}
}

// tail is the end of the log.
func (p *process) tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log[max(0, len(p.log)-n):], "\n")
}

// tailWithout is the end of the log without the lines that hold a text.
func (p *process) tailWithout(n int, text string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := slices.DeleteFunc(slices.Clone(p.log), func(line string) bool { return strings.Contains(line, text) })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// kill ends the process as a power switch would, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// terminate asks the process to end, and returns what it made of that.
func (p *process) terminate(t testing.TB) error {
	t.Helper()
	require.NoError(t, p.askToEnd())
	<-p.done
	return p.err
}

// askToEnd sends SIGTERM. The error says that the process has ended.
func (p *process) askToEnd() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// get asks the API with the site's key. The body is read whole.
func (p *process) get(path string) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodGet, p.http+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.site.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, errors.Join(err, resp.Body.Close())
}

// messages lists all messages of a mailbox, newest first.
func (p *process) messages(t testing.TB, mailbox, folder string) []wire.Message {
	t.Helper()
	list, err := p.list(mailbox, folder)
	require.NoError(t, err)
	return list
}

// list is messages for a daemon that may be damaged.
func (p *process) list(mailbox, folder string) ([]wire.Message, error) {
	var list []wire.Message
	query := url.Values{"mailbox": {mailbox}, "limit": {"100"}}
	if folder != "" {
		query.Set("folder", folder)
	}
	for {
		body, err := p.getOK("/api/v1/messages?" + query.Encode())
		if err != nil {
			return nil, err
		}
		var page struct {
			Data       []wire.Message
			Pagination struct {
				Cursor  string
				HasMore bool `json:"has_more"`
			}
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Data...)
		if !page.Pagination.HasMore {
			return list, nil
		}
		query.Set("cursor", page.Pagination.Cursor)
	}
}

// getOK is get for what must be answered with 200.
func (p *process) getOK(path string) ([]byte, error) {
	status, body, err := p.get(path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, status, body)
	}
	return body, err
}

// raw reads a message back.
func (p *process) raw(t testing.TB, id string) []byte {
	t.Helper()
	body, err := p.getOK("/api/v1/messages/" + id + "/raw")
	require.NoError(t, err)
	return body
}

// waitFor is for what another process does soon.
func waitFor(t testing.TB, what string, probe func() bool) {
	t.Helper()
	require.Eventually(t, probe, 30*time.Second, 20*time.Millisecond, what)
}

// lmtp sends one message to the daemon's LMTP socket.
func (s *testSite) lmtp(ctx context.Context, from string, rcpts []string, msg []byte) (*lab.Replies, error) {
	return lab.SMTPSend(ctx, s.socket("lmtp"), from, rcpts, msg, lab.SendOptions{LMTP: true, Helo: "mx.example.test"})
}
