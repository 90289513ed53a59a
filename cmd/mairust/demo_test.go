package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// demoRun is a `mairust demo` that runs.
type demoRun struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes what the demo prints.
func (r *demoRun) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func (r *demoRun) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// startDemo runs program, a copy of this test's own or that itself, as `mairust demo`.
func startDemo(t *testing.T, as *syscall.Credential, program string, args ...string) *demoRun {
	t.Helper()
	r := &demoRun{t: t, cmd: exec.Command(program, append([]string{"demo"}, args...)...), done: make(chan struct{})}
	r.cmd.Env = append(os.Environ(), asMairust+"=1")
	r.cmd.Dir = "/"
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	r.cmd.Stdout, r.cmd.Stderr = r, r
	r.cmd.WaitDelay = time.Minute // no process may hold the output open
	require.NoError(t, r.cmd.Start())
	go func() {
		r.err = r.cmd.Wait()
		close(r.done)
	}()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("demo %q printed:\n%s", args, r.output())
		}
	})
	return r
}

// stop sends SIGTERM and waits for the end.
func (r *demoRun) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-r.done
}

// wait gives the exit code and the output.
func (r *demoRun) wait() (int, string) {
	<-r.done
	return r.cmd.ProcessState.ExitCode(), r.output()
}

// waitFor waits until the demo has printed text.
func (r *demoRun) waitFor(text string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	require.NoError(r.t, lab.Eventually(ctx, func(context.Context) error {
		if strings.Contains(r.output(), text) {
			return nil
		}
		select {
		case <-r.done:
			cancel()
			return errors.New("the demo ended")
		default:
			return fmt.Errorf("not printed: %q", text)
		}
	}))
}

// runDemoOnce runs the demo to its end.
func runDemoOnce(t *testing.T, args ...string) (int, string) {
	t.Helper()
	return startDemo(t, nil, os.Args[0], args...).wait()
}

// shLines runs the printed commands as they stand; curl fails on an HTTP error.
func shLines(t *testing.T, lines string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", "curl() { command curl --fail \"$@\"; }\n"+lines)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", lines, out)
	return string(out)
}

// section is what stands below a heading of the output.
func section(t *testing.T, output, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(output, "\n"+heading)
	require.True(t, found, heading)
	_, rest, _ = strings.Cut(rest, "\n")
	text, _, _ := strings.Cut(rest, "\n\n")
	return text
}

// stillRunning looks at the command line and working directory of every process.
func stillRunning(dirs ...string) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, p := range processes {
		line, _ := os.ReadFile(p + "/cmdline") // it may have ended
		cwd, _ := os.Readlink(p + "/cwd")
		for _, dir := range dirs {
			if text := string(line) + "\n" + cwd; strings.Contains(text, dir) {
				return fmt.Errorf("process %s is left: %q", p, text)
			}
		}
	}
	return nil
}

var labDir = regexp.MustCompile(`/tmp/lab-pf-\d+`)

func TestDemoShowsMailThroughPostfix(t *testing.T) {
	labtest.Postfix(t, lab.PostfixOptions{})
	labtest.Rspamd(t)
	dir := filepath.Join(t.TempDir(), "demo")
	r := startDemo(t, nil, os.Args[0], "--dir", dir, "--no-install")
	r.waitFor("Ctrl-C stops everything")
	out := r.output()
	require.Contains(t, out, "9 stored and read back through the API, 2 refused, all as it should be.")
	require.Contains(t, out, "[請求書.pdf, 会社のロゴ.png]")
	require.Regexp(t, `spam that is tagged +bob@example.test +250 2.0.0 +INBOX +\d+\.\d +spam\n`, out)
	require.Contains(t, out, "Gtube", "rspamd refuses it, not our own rule")
	postfixDir := labDir.FindString(out)
	require.DirExists(t, postfixDir)

	code, second := runDemoOnce(t, "--dir", dir, "--once")
	require.Equal(t, 1, code)
	require.Contains(t, second, "a demo runs in "+dir)
	code, second = runDemoOnce(t, "--dir", dir, "--reset")
	require.Equal(t, 1, code)
	require.Contains(t, second, "a demo runs in "+dir)

	t.Run("printed commands work", func(t *testing.T) {
		labtest.Program(t, "curl", "curl")
		reading := section(t, out, "Read the mail")
		answers := shLines(t, reading)
		require.Contains(t, answers, "Return-Path: <newsletter@sender.test>")
		require.Regexp(t, `"openapi": ?"3\.1`, answers)
		require.Contains(t, answers, "mairust_build_info")
		pdf, err := os.ReadFile(filepath.Join(dir, "invoice.pdf"))
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(pdf, []byte("%PDF-1.4")))

		const subject = "Minutes of the meeting on Friday"
		list := strings.Join(strings.SplitN(reading, "\n", 4)[:3], "\n") // API=, KEY=, the list
		list = strings.ReplaceAll(list, "limit=5", "limit=50")
		before := strings.Count(shLines(t, list), subject)
		for line := range strings.SplitSeq(section(t, out, "Send your own"), "\n") {
			if !strings.Contains(line, "swaks") {
				shLines(t, line)
			}
		}
		require.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
			if n := strings.Count(shLines(t, list), subject); n != before+2 {
				return fmt.Errorf("%d mails of that subject, %d before", n, before)
			}
			return nil
		}))
	})

	r.stop()
	code, out = r.wait()
	require.Zero(t, code)
	require.Contains(t, out, "Everything has stopped.")
	require.NoDirExists(t, postfixDir)
	require.NoError(t, stillRunning(dir, postfixDir))

	t.Run("again with the same data", func(t *testing.T) {
		code, again := runDemoOnce(t, "--dir", dir, "--no-install", "--once")
		require.Zero(t, code)
		require.Contains(t, again, "there from an earlier demo")
		require.Contains(t, again, "9 stored and read back through the API, 2 refused")
		require.Equal(t, section(t, out, "Logins"), section(t, again, "Logins"))
		require.NoError(t, stillRunning(dir))
	})

	code, out = runDemoOnce(t, "--dir", dir, "--reset")
	require.Zero(t, code)
	require.Contains(t, out, "Removed "+dir)
	require.NoDirExists(t, dir)
	code, out = runDemoOnce(t, "--dir", dir, "--reset")
	require.Zero(t, code)
	require.Contains(t, out, "Nothing to remove")
}

func TestDemoFeedsLMTPWhenItIsNotRoot(t *testing.T) {
	dir := labtest.ShortDir(t)
	program, as := os.Args[0], (*syscall.Credential)(nil)
	if os.Geteuid() == 0 {
		// Where go test builds nobody else may look.
		program = filepath.Join(dir, "mairust")
		copyProgram(t, os.Args[0], program)
		as = nobody(t)
		require.NoError(t, os.Chown(dir, int(as.Uid), int(as.Gid)))
	}
	r := startDemo(t, as, program, "--dir", filepath.Join(dir, "demo"), "--once")
	code, out := r.wait()
	require.Zero(t, code)
	require.Contains(t, out, "none: it needs root")
	require.Contains(t, out, "7 stored and read back through the API, 1 refused, all as it should be.")
	require.Contains(t, out, "3 mails that show the milter were left out")
	require.NoError(t, stillRunning(dir))
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, errors.Join(err, out.Chmod(0o755), out.Close()))
}

// nobody is the user without rights.
func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, errors.Join(errUID, errGID))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func TestInterruptedDemoLeavesNothingRunning(t *testing.T) {
	t.Setenv("PATH", "/nonexistent") // no rspamd: quicker
	// Too long a path for the admin socket.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20), "demo")
	r := startDemo(t, nil, os.Args[0], "--dir", dir, "--no-install")
	r.waitFor("MaiRust   ready")
	r.stop()
	code, out := r.wait()
	require.Equal(t, 1, code)
	require.Contains(t, out, "Interrupted.")
	require.NoError(t, stillRunning(dir))
	runDir := regexp.MustCompile(`/tmp/mairust-demo-\d+`).FindString(out)
	require.NotEmpty(t, runDir)
	require.NoDirExists(t, runDir)
}

func TestKilledDemoLeavesNothingRunning(t *testing.T) {
	labtest.Postfix(t, lab.PostfixOptions{})
	t.Setenv("PATH", "/nonexistent") // so that GTUBE is refused by our own rule
	dir := filepath.Join(t.TempDir(), "demo")
	r := startDemo(t, nil, os.Args[0], "--dir", dir, "--no-install")
	r.waitFor("Ctrl-C stops everything")
	out := r.output()
	require.Contains(t, out, "rspamd    none: it is not installed")
	require.Contains(t, out, "9 stored and read back through the API, 2 refused, all as it should be.")
	postfixDir := labDir.FindString(out)
	require.DirExists(t, postfixDir)
	require.NoError(t, r.cmd.Process.Kill())
	require.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
		if _, err := os.Stat(postfixDir); !os.IsNotExist(err) {
			return fmt.Errorf("%s is left", postfixDir)
		}
		return stillRunning(dir, postfixDir)
	}))
}

func TestDemoTakesAndRemovesOnlyItsOwnDirectory(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine.txt")
	require.NoError(t, os.WriteFile(mine, []byte("mine"), 0o600))
	code, out := runDemoOnce(t, "--dir", dir, "--once")
	require.Equal(t, 1, code)
	require.Contains(t, out, "is not empty and not of a demo")
	for _, path := range []string{dir, mine} {
		code, out = runDemoOnce(t, "--dir", path, "--reset")
		require.Equal(t, 1, code)
		require.Contains(t, out, "nothing was removed")
	}
	require.FileExists(t, mine)
}

func TestReplyOfEachRecipient(t *testing.T) {
	ok, unknown := lab.Reply{Code: 250, Text: "2.0.0 Ok"}, lab.Reply{Code: 550, Text: "5.1.1 unknown"}
	later, spam := lab.Reply{Code: 451, Text: "4.7.1 later"}, lab.Reply{Code: 550, Text: "5.7.1 spam"}
	for name, c := range map[string]struct {
		replies lab.Replies
		lmtp    bool
		want    []lab.Reply
	}{
		"sender refused": {lab.Replies{Mail: later}, false, []lab.Reply{later, later}},
		"none accepted":  {lab.Replies{Rcpts: []lab.Reply{unknown, later}}, false, []lab.Reply{unknown, later}},
		"DATA refused":   {lab.Replies{Rcpts: []lab.Reply{ok, unknown}, Data: later}, false, []lab.Reply{later, unknown}},
		"SMTP":           {lab.Replies{Rcpts: []lab.Reply{ok, ok}, Final: []lab.Reply{spam}}, false, []lab.Reply{spam, spam}},
		"LMTP":           {lab.Replies{Rcpts: []lab.Reply{unknown, ok}, Final: []lab.Reply{ok}}, true, []lab.Reply{unknown, ok}},
		"LMTP, each":     {lab.Replies{Rcpts: []lab.Reply{ok, ok}, Final: []lab.Reply{ok, later}}, true, []lab.Reply{ok, later}},
	} {
		require.Equal(t, c.want, replyOfEach(&c.replies, 2, c.lmtp), name)
	}
}

func TestWhatIsNotAsItShouldBeIsTold(t *testing.T) {
	stored := wire.MessageDetail{Message: wire.Message{ID: "1", MessageID: "one@sender.test", Folder: "INBOX", Tags: []string{"odd"}}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/messages", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.List[wire.Message]{Data: []wire.Message{stored.Message}})
	})
	mux.HandleFunc("/api/v1/messages/1", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(stored) })
	server := httptest.NewServer(mux)
	defer server.Close()
	d := &demo{api: &demoAPI{base: server.URL}}
	for _, c := range []struct {
		mail  demoMail
		to    demoRcpt
		code  int
		fault string
	}{
		{demoMail{folder: "INBOX"}, demoRcpt{demoBob, demoBob}, 451, "it should have been accepted"},
		{demoMail{folder: "INBOX"}, demoRcpt{"nobody@example.test", ""}, 250, "it should have been refused with 550"},
		{demoMail{folder: "INBOX"}, demoRcpt{"nobody@example.test", ""}, 550, ""},
		{demoMail{refused: true}, demoRcpt{demoBob, demoBob}, 550, "it is stored all the same"},
		{demoMail{folder: "Quarantine"}, demoRcpt{demoBob, demoBob}, 250, "it should be in Quarantine"},
		{demoMail{folder: "INBOX", tag: "spam"}, demoRcpt{demoBob, demoBob}, 250, "it should have the tag spam"},
		{demoMail{folder: "INBOX"}, demoRcpt{demoBob, demoBob}, 250, "it should have no tag"},
		{demoMail{folder: "INBOX", tag: "odd"}, demoRcpt{demoBob, demoBob}, 250, ""},
	} {
		o := demoOutcome{rcpt: c.to, reply: lab.Reply{Code: c.code}}
		require.NoError(t, d.lookUp(t.Context(), c.mail, "one@sender.test", &o))
		require.Equal(t, c.fault, o.fault)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":            "''",
		"/tmp/a-b.c":  "/tmp/a-b.c",
		"/tmp/a b":    "'/tmp/a b'",
		"it's":        `'it'\''s'`,
		"請求書.pdf":     "'請求書.pdf'",
		"$HOME;rm -r": "'$HOME;rm -r'",
	} {
		require.Equal(t, want, shellQuote(in))
	}
}
