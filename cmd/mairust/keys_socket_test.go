package main

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/sqldb"
)

// slowly lists objects with a pause before each.
type slowly struct {
	crypt.Backend
	pause time.Duration
}

func (b slowly) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range b.Backend.List(ctx, prefix) {
			select {
			case <-time.After(b.pause):
			case <-ctx.Done():
				yield(blob.Info{}, ctx.Err())
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// pipes is a listener without sockets, so that a bubble of synctest knows when everybody waits.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// slowDaemon serves mairust keys on a listener with the limits of the admin socket, in a bubble of synctest, while each object takes longer to list than
// those let a connection be idle.
func slowDaemon(t *testing.T, here *encryptedSite, test func(t *testing.T, client *socketClient, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, _, err := config.Load(here.configFile)
		require.NoError(t, err)
		open, err := openSite(t.Context(), c, openOptions{log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		recipients, operator, err := operatorKeys(c.Storage.Encryption)
		require.NoError(t, err)
		open.keys = crypt.NewKeyring(crypt.KeyringOptions{
			Index: open.store, Backend: slowly{open.backend(t), 2*ownLimits.Idle + time.Second}, Recipients: recipients, Operator: operator,
		})
		d := &daemon{config: c, site: open, log: slog.New(slog.DiscardHandler)}
		stopping, stop := context.WithCancel(t.Context())
		inner := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		listener := listen.Guard(inner, ownLimits, listen.Hooks{})
		server := &http.Server{Handler: d.serveKeys(stopping, keysBeat), ReadHeaderTimeout: time.Minute}
		var group sync.WaitGroup
		group.Go(func() { _ = server.Serve(listener) })
		transport := &http.Transport{DialContext: inner.dial}
		test(t, &socketClient{path: "pipe", http: &http.Client{Transport: transport}}, stop)
		stop()
		transport.CloseIdleConnections()
		require.NoError(t, server.Shutdown(t.Context()))
		group.Wait()
		require.NoError(t, open.Close())
	})
}

func TestAnActOnAllKeysIsNotCutForBeingIdle(t *testing.T) {
	here := newEncryptedSite(t, sqldb.SQLite, "bob")
	here.deliverOne(t, "Q1")
	slowDaemon(t, here, func(t *testing.T, client *socketClient, _ func()) {
		for act, want := range map[string]string{"check": "1 keys checked, 0 mended, 0 wrong", "rewrap": "0 keys encrypted anew, 0 failed; nothing to do for 1"} {
			var progress bytes.Buffer
			began := time.Now()
			a, err := client.keys(t.Context(), &progress, keysRequest{Act: act})
			require.NoError(t, err)
			require.Equal(t, want, a.Summary)
			require.Len(t, a.Keys, 1)
			require.Greater(t, time.Since(began), 2*ownLimits.Idle)
			lines := strings.Split(strings.TrimSpace(progress.String()), "\n")
			require.GreaterOrEqual(t, len(lines), int(2*ownLimits.Idle/keysBeat))
			require.Equal(t, "30s: 0 objects listed", lines[0])
			require.NotContains(t, lines[len(lines)-1], " 0 objects")
		}
	})
}

func TestAnActOnAllKeysEndsWhenTheDaemonStops(t *testing.T) {
	here := newEncryptedSite(t, sqldb.SQLite, "bob")
	here.deliverOne(t, "Q1")
	slowDaemon(t, here, func(t *testing.T, client *socketClient, stop func()) {
		time.AfterFunc(time.Second, stop)
		began := time.Now()
		_, err := client.keys(t.Context(), &bytes.Buffer{}, keysRequest{Act: "rewrap"})
		require.EqualError(t, err, errStopping.Error())
		require.Equal(t, time.Second, time.Since(began), "on the clock of the bubble")
	})
}
