package listen_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/listen"
)

const patience = 20 * time.Second

// echo listens and answers each connection with its own bytes.
type echo struct {
	*listen.Listener
	reg  *prometheus.Registry
	log  *logs
	done sync.WaitGroup
}

// logs collects what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func openEcho(t *testing.T, o listen.Options, l listen.Limits) *echo {
	t.Helper()
	reg := prometheus.NewRegistry()
	out := &logs{}
	ln, err := listen.Open(t.Context(), o, l, listen.Hooks{
		Name: "test", Metrics: listen.NewMetrics(reg), Log: slog.New(slog.NewTextHandler(out, nil)),
	})
	require.NoError(t, err)
	e := &echo{Listener: ln, reg: reg, log: out}
	e.done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.done.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = ln.Drain(ctx)
		e.done.Wait()
	})
	return e
}

func (e *echo) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial(e.Addr().Network(), e.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (e *echo) requireMetric(t *testing.T, want string) {
	t.Helper()
	name, _, _ := strings.Cut(want, "{")
	require.Eventually(t, func() bool {
		return testutil.GatherAndCompare(e.reg, strings.NewReader(e.header(name)+want+"\n"), name) == nil
	}, patience, time.Millisecond, want)
}

// header gives the HELP and TYPE lines, which a comparison needs.
func (e *echo) header(name string) string {
	families, _ := e.reg.Gather()
	for _, f := range families {
		if f.GetName() == name {
			return fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n", name, f.GetHelp(), name, strings.ToLower(f.GetType().String()))
		}
	}
	return ""
}

func requireEcho(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "ping\n")
	require.NoError(t, err)
	line := make([]byte, 5)
	_, err = io.ReadFull(c, line)
	require.NoError(t, err)
	require.Equal(t, "ping\n", string(line))
}

// requireEnd says that the other side closed c.
func requireEnd(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestConnectionsAreServedAndCounted(t *testing.T) {
	for _, address := range []string{"inet:127.0.0.1:0", "inet:localhost:0", "unix:" + filepath.Join(t.TempDir(), "new", "s.sock")} {
		e := openEcho(t, listen.Options{Address: address}, listen.Limits{})
		a, b := e.dial(t), e.dial(t)
		requireEcho(t, a)
		requireEcho(t, b)
		e.requireMetric(t, `mairust_listen_connections{listener="test"} 2`)
		require.NoError(t, a.Close())
		e.requireMetric(t, `mairust_listen_connections{listener="test"} 1`)
		e.requireMetric(t, `mairust_listen_accepted_total{listener="test"} 2`)
	}
}

func TestIPv6(t *testing.T) {
	for _, address := range []string{"inet:[::1]:0", "inet6:[::1]:0"} {
		ln, err := listen.Open(t.Context(), listen.Options{Address: address}, listen.Limits{}, listen.Hooks{})
		require.NoError(t, err)
		require.Contains(t, ln.Addr().String(), "[::1]:")
		require.NoError(t, ln.Close())
	}
}

func TestClientsOutsideTheAllowListAreClosed(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0", Allow: []string{"192.0.2.0/24", "127.0.0.2"}}, listen.Limits{})
	requireEnd(t, e.dial(t))
	e.requireMetric(t, `mairust_listen_refused_total{listener="test",reason="address"} 1`)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.Dial("tcp", e.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	requireEcho(t, c)
}

func TestIPv4ClientOfADualStackListenerIsAnIPv4Address(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:[::]:0", Allow: []string{"127.0.0.0/8"}}, listen.Limits{})
	_, port, err := net.SplitHostPort(e.Addr().String())
	require.NoError(t, err)
	c, err := net.Dial("tcp4", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer c.Close()
	requireEcho(t, c)
}

func TestOneClientTooManyIsClosedAtOnce(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{MaxPerClient: 2})
	a, b := e.dial(t), e.dial(t)
	requireEcho(t, a)
	requireEcho(t, b)
	requireEnd(t, e.dial(t))
	e.requireMetric(t, `mairust_listen_refused_total{listener="test",reason="per_client"} 1`)
	require.NoError(t, a.Close())
	e.requireMetric(t, `mairust_listen_connections{listener="test"} 1`)
	requireEcho(t, e.dial(t))
}

func TestOneConnectionTooManyWaitsForAPlace(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "unix:" + filepath.Join(t.TempDir(), "s")}, listen.Limits{MaxConnections: 2})
	a, b := e.dial(t), e.dial(t)
	requireEcho(t, a)
	requireEcho(t, b)
	waiting := e.dial(t)
	_, err := io.WriteString(waiting, "x")
	require.NoError(t, err)
	require.NoError(t, waiting.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "not served yet")
	require.NoError(t, a.Close())
	require.NoError(t, waiting.SetReadDeadline(time.Now().Add(patience)))
	_, err = io.ReadFull(waiting, make([]byte, 1))
	require.NoError(t, err)
}

func TestIdleConnectionsEnd(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{Idle: 50 * time.Millisecond})
	c := e.dial(t)
	requireEnd(t, c)
	e.requireMetric(t, `mairust_listen_ended_total{listener="test",reason="idle"} 1`)
	e.requireMetric(t, `mairust_listen_connections{listener="test"} 0`)
}

func TestAClientThatTakesNothingIsCut(t *testing.T) {
	ln, c := pair(t, listen.Limits{Idle: 100 * time.Millisecond})
	_, err := ln.Write(make([]byte, 64<<20)) // more than any socket buffer
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.Close())
}

func TestReaderIsNotIdleWhileBytesAreWritten(t *testing.T) {
	const idle = 2 * time.Second
	server, client := pair(t, listen.Limits{Idle: idle})
	go func() { _, _ = io.Copy(io.Discard, client) }()
	read := make(chan error, 1)
	go func() {
		_, err := server.Read(make([]byte, 1))
		read <- err
	}()
	tick := time.NewTicker(idle / 40)
	defer tick.Stop()
	for range 80 { // twice the idle time
		_, err := server.Write([]byte("x"))
		require.NoError(t, err)
		select {
		case err := <-read:
			t.Fatal("the read ended although bytes moved: ", err)
		case <-tick.C:
		}
	}
	require.ErrorIs(t, <-read, os.ErrDeadlineExceeded, "and ends once they stop")
}

func TestDeadlinesOfTheServerHold(t *testing.T) {
	server, client := pair(t, listen.Limits{})
	require.NoError(t, server.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := server.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	require.NoError(t, server.SetDeadline(time.Time{}))
	read := make(chan error, 1)
	go func() {
		_, err := server.Read(make([]byte, 1))
		read <- err
	}()
	require.NoError(t, server.SetReadDeadline(time.Unix(1, 0)), "as http.Server does to end a read under way")
	require.ErrorIs(t, <-read, os.ErrDeadlineExceeded)
	require.NoError(t, server.SetWriteDeadline(time.Unix(1, 0)))
	_, err = server.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	require.NoError(t, server.SetDeadline(time.Time{}))
	requireDialogue(t, server, client)
}

func requireDialogue(t *testing.T, server, client net.Conn) {
	t.Helper()
	long := strings.Repeat("x", 300<<10) + "\n"
	go func() { _, _ = io.WriteString(client, long) }()
	line, err := bufio.NewReader(server).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, long, line)
	go func() { _, _ = io.WriteString(server, long) }()
	line, err = bufio.NewReader(client).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, long, line)
	n, err := server.Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

// pair gives both ends of a connection through a listener.
func pair(t *testing.T, l listen.Limits) (server, client net.Conn) {
	t.Helper()
	ln, err := listen.Open(t.Context(), listen.Options{Address: "inet:127.0.0.1:0"}, l, listen.Hooks{})
	require.NoError(t, err)
	client, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	server, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		_ = client.Close()
		require.NoError(t, ln.Close())
	})
	return server, client
}

func TestConnectionsUnwrap(t *testing.T) {
	server, client := pair(t, listen.Limits{})
	inner, ok := server.(interface{ NetConn() net.Conn })
	require.True(t, ok)
	require.IsType(t, &net.TCPConn{}, inner.NetConn())
	half, ok := server.(interface{ CloseWrite() error })
	require.True(t, ok)
	require.NoError(t, half.CloseWrite())
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, server.Close())
	require.NoError(t, server.Close(), "twice")
}

func TestDrainWaitsForConnectionsToEnd(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{})
	c := e.dial(t)
	requireEcho(t, c)
	drained := make(chan error, 2)
	for range 2 {
		go func() { drained <- e.Drain(t.Context()) }()
	}
	require.Eventually(t, func() bool {
		late, err := net.Dial("tcp", e.Addr().String())
		if err == nil {
			_ = late.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "no new connections")
	requireEcho(t, c)
	require.Empty(t, drained)
	require.NoError(t, c.Close())
	require.NoError(t, <-drained)
	require.NoError(t, <-drained)
	_, err := e.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{})
	c := e.dial(t)
	requireEcho(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := e.Drain(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "1 connections cut")
	requireEnd(t, c)
	e.requireMetric(t, `mairust_listen_ended_total{listener="test",reason="drain"} 1`)
	e.requireMetric(t, `mairust_listen_connections{listener="test"} 0`)
	require.NoError(t, e.Close(), "twice")
}

func TestDrainWhileClientsStormIn(t *testing.T) {
	for range 20 {
		e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{})
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for {
					c, err := net.Dial("tcp", e.Addr().String())
					if err != nil {
						return
					}
					_ = c.Close()
				}
			})
		}
		require.NoError(t, e.Drain(t.Context()))
		clients.Wait()
		e.done.Wait()
	}
}

func TestAcceptSurvivesALackOfFileDescriptors(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // the client's, made in time
	require.NoError(t, err)
	client := os.NewFile(uintptr(fd), "client")
	defer client.Close()
	port, err := strconv.Atoi(e.Addr().String()[len("127.0.0.1:"):])
	require.NoError(t, err)

	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}))
	require.Eventually(t, func() bool { return strings.Contains(e.log.String(), "too many open files") }, patience, time.Millisecond)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))

	c, err := net.FileConn(client)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	requireEcho(t, c)
}

func TestPortInUse(t *testing.T) {
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, listen.Limits{})
	_, err := listen.Open(t.Context(), listen.Options{Address: "inet:" + e.Addr().String()}, listen.Limits{}, listen.Hooks{})
	require.ErrorContains(t, err, "address already in use")
	var op *net.OpError
	require.True(t, errors.As(err, &op))
}
