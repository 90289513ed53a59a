package ui_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
	"github.com/mairust/mairust/ui"
)

const password = "correct horse battery"

// passwordHash is made once: each costs 64 MiB and a tenth of a second.
var passwordHash = sync.OnceValues(func() (string, error) { return auth.HashPassword(password) })

// rig is a server with a real store, two tenants, and people who may ask it.
type rig struct {
	store   *store.Store
	objects *bucket
	http    *httptest.Server
	handler http.Handler
	log     *lockedBuffer
	metrics *prometheus.Registry
	auth    *auth.Authenticator
	ring    *keyring.Ring
	watch   *parts
	engine  *engine
	site    *storetest.Site
	other   *storetest.Site
	// suspects are what readers could not read.
	suspects *storetest.Suspects
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
	r, info, err := b.Memory.Get(ctx, key, offset, n)
	if err != nil {
		return nil, info, err
	}
	return &reading{ReadCloser: r, ctx: ctx, bucket: b}, info, nil
}

// reading ends with its context, as that of every other bucket does, or with the disk.
type reading struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // an io.Reader has no other way to get it
	bucket *bucket
}

// Read implements io.Reader.
func (r *reading) Read(p []byte) (int, error) {
	if r.bucket.away.Load() {
		return 0, errors.New("the disk is gone")
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
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

// onStores runs a test on every database, with the tenants "example" (hanako, bob) and "other" (eve).
func onStores(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, s *store.Store) { test(t, newRig(t, s)) })
}

func newRig(t testing.TB, s *store.Store) *rig {
	t.Helper()
	r := &rig{store: s, objects: &bucket{Memory: blob.NewMemory()}, log: &lockedBuffer{}, metrics: prometheus.NewRegistry(), watch: newParts(), engine: newEngine(t), suspects: &storetest.Suspects{}}
	r.site = storetest.NewSite(t, s, "example", "example.test", "hanako", "bob")
	r.other = storetest.NewSite(t, s, "other", "other.test", "eve")
	r.engine.tenants["example.test"], r.engine.tenants["other.test"] = r.site.Tenant.ID, r.other.Tenant.ID
	var err error
	r.auth, err = auth.New(auth.Options{Store: s})
	require.NoError(t, err)
	r.ring, err = keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	r.serve(t, s)
	t.Cleanup(func() {
		for line := range strings.Lines(r.log.String()) {
			if t.Failed() && strings.Contains(line, `"level":"ERROR"`) {
				t.Log(line)
			}
		}
	})
	return r
}

// with is the rig with a store that behaves in another way.
func (r *rig) with(t testing.TB, change func(ui.Store) ui.Store) *rig {
	t.Helper()
	other := *r
	other.log, other.metrics = &lockedBuffer{}, prometheus.NewRegistry()
	other.serve(t, change(r.store))
	return &other
}

func (r *rig) serve(t testing.TB, s ui.Store) {
	t.Helper()
	r.http = httptest.NewUnstartedServer(nil)
	var running admin.Engine // nil when the rig has none
	if r.engine != nil {
		running = r.engine
	}
	server, err := ui.New(ui.Options{PublicURL: "http://" + r.http.Listener.Addr().String()}, ui.Deps{
		Store: s, Objects: r.objects, Auth: r.auth, Keyring: r.ring, Log: slog.New(slog.NewJSONHandler(r.log, nil)), Registerer: r.metrics, Watch: r.watch, Suspect: r.suspects.Suspect,
		Outbound: admin.NewOutbound(admin.New(admin.Options{Store: r.store}), running),
	})
	require.NoError(t, err)
	r.handler = server.Handler()
	r.http.Config.Handler = r.handler
	r.http.Start()
	t.Cleanup(r.http.Close)
}

// withPassword gives a user the password of the tests.
func (r *rig) withPassword(t testing.TB, user store.UserID) {
	t.Helper()
	hash, err := passwordHash()
	require.NoError(t, err)
	require.NoError(t, r.store.SetPassword(t.Context(), user, hash))
}

// session opens a session without the cost of a password.
func (r *rig) session(t testing.TB, user store.UserID) string {
	t.Helper()
	token := auth.NewLinkToken()
	require.NoError(t, r.store.CreateSession(t.Context(), store.Session{
		TokenHash: token.Hash, User: user, Created: time.Now(), Expires: time.Now().Add(time.Hour),
	}))
	return token.Secret
}

// person makes a user of a role in the tenant "example".
func (r *rig) person(t testing.TB, login string, role auth.Role) store.UserID {
	t.Helper()
	u, _, err := r.store.EnsureUser(t.Context(), store.User{Tenant: r.site.Tenant.ID, Login: login, Role: string(role)})
	require.NoError(t, err)
	return u.ID
}

// as is a browser in which the user is signed in; "" for one in which nobody is.
func (r *rig) as(t testing.TB, user store.UserID) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b := &browser{base: r.http.URL, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
	if user != "" {
		at, err := url.Parse(r.http.URL)
		require.NoError(t, err)
		jar.SetCookies(at, []*http.Cookie{{Name: "mairust", Value: r.session(t, user), Path: "/"}})
	}
	return b
}

func (r *rig) hanako(t testing.TB) *browser { t.Helper(); return r.as(t, r.site.Users["hanako"].ID) }

// deliver stores a message in hanako's mailbox, as LMTP would.
func (r *rig) deliver(t testing.TB, folder, data string, tags ...string) store.MessageID {
	t.Helper()
	return r.deliverTo(t, r.site.Target("hanako"), folder, data, tags...)
}

func (r *rig) deliverTo(t testing.TB, target store.Target, folder, data string, tags ...string) store.MessageID {
	t.Helper()
	object := "Return-Path: <sender@example.org>\r\n" + data
	summary, err := mail.Summarize(strings.NewReader(object), mail.Limits{})
	require.NoError(t, err)
	id := store.NewMessageID()
	key := store.ObjectKey(target.Tenant, target.Mailbox, id)
	require.NoError(t, r.objects.Put(t.Context(), key, strings.NewReader(object), int64(len(object))))
	verdict := mail.Verdict{}
	if folder == store.Quarantine {
		verdict = mail.Verdict{Action: mail.Quarantine, Score: 12.4}
	}
	storetest.Deliver(t, r.store, store.Copy{
		ID: id, Target: target, Rcpt: target.Address, Folder: folder, Key: key, Tags: tags,
		Content: &store.Content{
			From: mail.Address{Local: "sender", Domain: "example.org"}, Summary: summary, SizeBytes: int64(len(object)),
			Digest: sha256.Sum256([]byte(object)), Received: time.Now(), QueueID: "4Xyz", Host: "mx.example.test", Scan: verdict,
		},
	})
	return id
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	base   string
	client *http.Client
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (b *browser) do(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.base+path, strings.NewReader(body))
	require.NoError(t, err)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp, string(raw)}
}

func (b *browser) get(t testing.TB, path string, header ...string) answer {
	t.Helper()
	return b.do(t, http.MethodGet, path, "", header...)
}

// page gets a page that must be there.
func (b *browser) page(t testing.TB, path string, header ...string) string {
	t.Helper()
	a := b.get(t, path, header...)
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	return a.body
}

// post sends a form: names and values in turn.
func (b *browser) post(t testing.TB, path string, pairs ...string) answer {
	t.Helper()
	return b.postIn(t, "", path, pairs...)
}

// postIn is post of a browser in a language.
func (b *browser) postIn(t testing.TB, language, path string, pairs ...string) answer {
	t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.do(t, http.MethodPost, path, form.Encode(), inLanguage, language)
}

// act posts a form that must be answered by a redirect, and follows it.
func (b *browser) act(t testing.TB, path string, pairs ...string) string {
	t.Helper()
	a := b.post(t, path, pairs...)
	require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
	return b.page(t, a.Header.Get("Location"))
}

var (
	tagsInHTML = regexp.MustCompile(`<[^>]*>`)
	spaces     = regexp.MustCompile(`\s+`)
)

// words are what a page says, without its markup.
func words(page string) string {
	return spaces.ReplaceAllString(html.UnescapeString(tagsInHTML.ReplaceAllString(page, " ")), " ")
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
