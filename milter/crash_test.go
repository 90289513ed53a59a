package milter_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// childEnv makes the test program a milter that never ends a check, at the socket it names.
const childEnv = "MAIRUST_MILTER_TEST_CHILD"

func TestMain(m *testing.M) {
	if socket := os.Getenv(childEnv); socket != "" {
		if err := stuckMilter(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if socket := os.Getenv(plainChildEnv); socket != "" {
		if err := plainMilter(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stuckMilter makes a file beside the socket as soon as a message is being checked, and waits.
func stuckMilter(socket string) error {
	s, err := milter.New(milter.Options{TimeoutMS: int(patience / time.Millisecond)}, milter.Deps{
		MAC: testMAC,
		Sources: []milter.Source{{Check: check{"stuck", func(ctx context.Context, _ *mail.Message) (mail.Verdict, error) {
			if err := os.WriteFile(socket+".checking", nil, 0o600); err != nil {
				return mail.Verdict{}, err
			}
			<-ctx.Done()
			return mail.Verdict{}, ctx.Err()
		}}}},
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		return err
	}
	return s.Serve(context.Background(), ln, milter.RoleInbound)
}

func TestMilterKilledWithinAMessageMeans451AndNothingIsLost(t *testing.T) {
	t.Parallel()
	dir := labtest.ShortDir(t)
	m := &served{socket: filepath.Join(dir, "m.sock"), local: filepath.Join(dir, "l.sock")}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+m.socket)
	child.Stderr = os.Stderr
	require.NoError(t, child.Start())
	killed := false
	kill := func() {
		if !killed {
			killed = true
			require.NoError(t, child.Process.Kill())
			_ = child.Wait()
		}
	}
	t.Cleanup(kill)
	s := newSite(t, m, lab.PostfixOptions{})
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error { return isOpenToAll(m.socket) }))

	c := s.dial(t)
	cmd(t, c, "MAIL FROM:<alice@sender.test>", 250)
	cmd(t, c, "RCPT TO:<bob@example.test>", 250)
	cmd(t, c, "DATA", 354)
	require.NoError(t, c.Write(lab.DotStuff([]byte(plain))))
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
		_, err := os.Stat(m.socket + ".checking")
		return err
	}))
	kill()
	r, err := c.ReadReply()
	require.NoError(t, err)
	require.Equal(t, 451, r.Code, "%s", r)
	refusedForNow(t, c) // the milter is still away
	require.Empty(t, s.sink.Transactions())

	require.NoError(t, os.Remove(m.socket))
	s.served = serveIn(t, dir, milter.Options{})
	s.accepted(t, plain)
	require.Equal(t, plain, s.delivered(t, 1).original())
}

// isOpenToAll says whether the child listens, and Postfix may connect.
func isOpenToAll(socket string) error {
	info, err := os.Stat(socket)
	if err == nil && info.Mode().Perm() != 0o777 {
		err = fmt.Errorf("%s has the mode %o", socket, info.Mode().Perm())
	}
	return err
}

// refusedForNow sends a message while there is no milter: Postfix answers 451, at the latest in place of taking it. MAIL and RCPT
// may be taken, since it waits for no answer to them.
func refusedForNow(t *testing.T, c *lab.SMTPConn) {
	t.Helper()
	for _, line := range []string{"MAIL FROM:<alice@sender.test>", "RCPT TO:<bob@example.test>", "DATA"} {
		r, err := c.Cmd(line)
		require.NoError(t, err)
		if r.Code == 451 {
			return
		}
		require.Less(t, r.Code, 400, "%s: %s", line, r)
	}
	r, err := c.Body([]byte(plain), 1)
	require.NoError(t, err)
	require.Equal(t, 451, r[0].Code, "%s", r[0])
}

func TestShutdownLetsAMessageEndAndClosesIdleConnections(t *testing.T) {
	t.Parallel()
	checking, goOn := make(chan struct{}), make(chan struct{})
	m := serve(t, milter.Options{TimeoutMS: int(patience / time.Millisecond)}, milter.Source{Check: check{"slow", func(context.Context, *mail.Message) (mail.Verdict, error) {
		close(checking)
		<-goOn
		return mail.Verdict{}, nil
	}}})
	s := newSite(t, m, lab.PostfixOptions{})
	idle := s.dial(t)
	c := s.dial(t)
	cmd(t, c, "MAIL FROM:<alice@sender.test>", 250)
	cmd(t, c, "RCPT TO:<bob@example.test>", 250)
	cmd(t, c, "DATA", 354)
	require.NoError(t, c.Write(lab.DotStuff([]byte(plain))))
	<-checking
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.stop(t)
	}()
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
		if n := m.metric(t, "mairust_milter_connections"); n != 1 {
			return fmt.Errorf("%g connections", n)
		}
		return nil
	}))
	refusedForNow(t, idle)
	close(goOn)
	r, err := c.ReadReply()
	require.NoError(t, err)
	require.Equal(t, 250, r.Code, "%s", r)
	<-done
	s.delivered(t, 1).scan()
}

func TestShutdownThatRunsOutOfTimeMeans451(t *testing.T) {
	t.Parallel()
	checking := make(chan struct{})
	m := serve(t, milter.Options{TimeoutMS: int(patience / time.Millisecond)}, milter.Source{Check: check{"stuck", func(ctx context.Context, _ *mail.Message) (mail.Verdict, error) {
		close(checking)
		<-ctx.Done()
		return mail.Verdict{}, ctx.Err()
	}}, OnError: "tempfail"})
	s := newSite(t, m, lab.PostfixOptions{})
	c := s.dial(t)
	cmd(t, c, "MAIL FROM:<alice@sender.test>", 250)
	cmd(t, c, "RCPT TO:<bob@example.test>", 250)
	cmd(t, c, "DATA", 354)
	require.NoError(t, c.Write(lab.DotStuff([]byte(plain))))
	<-checking
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, m.Shutdown(ended), context.Canceled)
	r, err := c.ReadReply()
	require.NoError(t, err)
	require.Equal(t, 451, r.Code, "%s", r)
	require.True(t, strings.HasPrefix(r.Text, "4.7.1"), "%s", r)
	require.Empty(t, s.sink.Transactions())
}
