package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy/bounce"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// rig is a server with a real store, and people who may ask it.
type rig struct {
	store   *store.Store
	objects *bucket
	server  *api.Server
	http    *httptest.Server
	socket  *httptest.Server
	log     *lockedBuffer
	metrics *prometheus.Registry
	// suspects are what readers could not read.
	suspects storetest.Suspects
}

// bucket is memory that can be taken away.
type bucket struct {
	*blob.Memory
	away atomic.Bool
}

func (b *bucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if b.away.Load() {
		return nil, blob.Info{}, fmt.Errorf("get %s: the disk is gone", key)
	}
	return b.Memory.Get(ctx, key, offset, n)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func onStores(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) { test(t, newRig(t, backend, api.Options{})) })
	}
}

func newRig(t testing.TB, backend string, o api.Options) *rig {
	t.Helper()
	return newRigOn(t, storetest.Options(t, backend), o)
}

func newRigOn(t testing.TB, database sqldb.Options, o api.Options, change ...func(*api.Deps)) *rig {
	t.Helper()
	s := store.New(store.Options{DB: storetest.OpenDB(t, database)})
	r := &rig{store: s, objects: &bucket{Memory: blob.NewMemory()}, log: &lockedBuffer{}, metrics: prometheus.NewRegistry()}
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	who, err := auth.New(auth.Options{Store: s})
	require.NoError(t, err)
	office := admin.New(admin.Options{Store: s})
	intake, err := bounce.NewIntake(bounce.IntakeDeps{
		Store: s, Hash: ring.Hash(keyring.Recipient), MAC: func(fields ...string) string { return ring.MAC("bounce", fields...) },
	})
	require.NoError(t, err)
	deps := api.Deps{
		Bounces: admin.NewBounces(intake),
		Store:   s, Objects: r.objects, Auth: who, Keyring: ring, Admin: office, Outbound: admin.NewOutbound(office, nil),
		Log: slog.New(slog.NewJSONHandler(r.log, nil)), Registerer: r.metrics, Version: "0.1.0", Suspect: r.suspects.Suspect,
	}
	for _, c := range change {
		c(&deps)
	}
	r.server, err = api.New(o, deps)
	require.NoError(t, err)
	r.http = serve(t, r.server, r.server.Handler())
	r.socket = serve(t, r.server, r.server.AdminHandler())
	return r
}

func serve(t testing.TB, s *api.Server, h http.Handler) *httptest.Server {
	t.Helper()
	ts := httptest.NewUnstartedServer(h)
	ts.Config = s.HTTPServer(h)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts
}

// session logs a user in without the cost of a password.
func (r *rig) session(t testing.TB, user store.UserID) string {
	t.Helper()
	token := auth.NewKey().Secret[len(auth.KeyPrefix):]
	sum := sha256.Sum256([]byte(token))
	require.NoError(t, r.store.CreateSession(t.Context(), store.Session{
		TokenHash: hex.EncodeToString(sum[:]), User: user, Created: time.Now(), Expires: time.Now().Add(time.Hour),
	}))
	return token
}

// person makes a user of a role and logs them in.
func (r *rig) person(t testing.TB, tenant store.TenantID, login string, role auth.Role) string {
	t.Helper()
	u, _, err := r.store.EnsureUser(t.Context(), store.User{Tenant: tenant, Login: login, Role: string(role)})
	require.NoError(t, err)
	return r.session(t, u.ID)
}

// key makes an API key.
func (r *rig) key(t testing.TB, tenant store.TenantID, role auth.Role) string {
	t.Helper()
	k := auth.NewKey()
	require.NoError(t, r.store.CreateAPIKey(t.Context(), store.APIKey{
		ID: store.NewAPIKeyID(), Tenant: tenant, Name: "test", Role: string(role), Hash: k.Hash, Prefix: k.Prefix, Created: time.Now(),
	}))
	return k.Secret
}

// deliver stores a message as LMTP would.
func (r *rig) deliver(t testing.TB, m *store.Mailbox, folder, data string) store.MessageID {
	t.Helper()
	object := "Return-Path: <sender@example.org>\r\n" + data
	summary, err := mail.Summarize(strings.NewReader(object), mail.Limits{})
	require.NoError(t, err)
	address, err := mail.ParseAddress(m.Address)
	require.NoError(t, err)
	id := store.NewMessageID()
	key := store.ObjectKey(m.Tenant, m.ID, id)
	require.NoError(t, r.objects.Put(t.Context(), key, strings.NewReader(object), int64(len(object))))
	digester := blob.NewDigester()
	_, _ = digester.Write([]byte(object))
	results := r.store.Deliver(t.Context(), []store.Copy{{
		ID: id, Target: store.Target{Tenant: m.Tenant, Mailbox: m.ID, Address: address}, Rcpt: address, Folder: folder, Key: key,
		Tags: []string{"newsletter"},
		Content: &store.Content{
			From: mail.Address{Local: "sender", Domain: "example.org"}, Summary: summary, SizeBytes: int64(len(object)),
			Digest: digester.Sum(), Pieces: digester.Pieces(), Received: time.Now(), QueueID: "4Xyz",
		},
	}})
	require.NoError(t, results[0].Err)
	return id
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) problem(t testing.TB) wire.Problem {
	t.Helper()
	var p wire.Problem
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), string(a.body))
	require.NoError(t, json.Unmarshal(a.body, &p), string(a.body))
	require.Equal(t, a.StatusCode, p.Status)
	require.Equal(t, a.Header.Get("X-Request-Id"), p.RequestID)
	require.NotEmpty(t, p.Detail)
	return p
}

func decode[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	require.Equal(t, http.StatusOK, a.StatusCode, string(a.body))
	require.NoError(t, json.Unmarshal(a.body, &v), string(a.body))
	return v
}

// do asks with a Bearer token; header lines come as "Name: value".
func (r *rig) do(t testing.TB, token, method, path, body string, header ...string) answer {
	t.Helper()
	return ask(t, r.http, token, method, path, body, header...)
}

func (r *rig) get(t testing.TB, token, path string, header ...string) answer {
	t.Helper()
	return r.do(t, token, http.MethodGet, path, "", header...)
}

func ask(t testing.TB, ts *httptest.Server, token, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, ts.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := ts.Client().Transport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{Response: resp, body: read}
}
