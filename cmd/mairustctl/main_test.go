package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mairustctl": func() { os.Exit(run(os.Args[1:])) }})
}

// The scripts are the specification of the command line: what is printed, and which exit code. Each has a server of its
// own, with the API on a network and on an admin socket, two tenants, and an account that was stopped.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			s := newSite(t)
			for name, value := range s.env(t, env.WorkDir) {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and requires its exit code: exits CODE PROGRAM ARGS….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit interface{ ExitCode() int }
	code := "0"
	if errors.As(err, &exit) {
		code = string(rune('0' + exit.ExitCode()))
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code is %s, not %s", code, args[0])
	}
}

// site is a server with two tenants.
type site struct {
	store    *store.Store
	one, two *storetest.Site
	http     *httptest.Server
	socket   net.Listener
}

func newSite(t *testing.T) *site {
	t.Helper()
	db := storetest.OpenDB(t, storetest.Options(t, sqldb.SQLite))
	s := &site{store: store.New(store.Options{DB: db})}
	s.one = storetest.NewSite(t, s.store, "one", "one.test", "bob", "ann", "full")
	storetest.Deliver(t, s.store, storetest.NewCopy(t, s.one.Target("full"), "it has a message"))
	s.two = storetest.NewSite(t, s.store, "two", "two.test", "eve")
	storetest.Blast(t, s.store, s.one.Tenant.ID, "bob@one.test", time.Now().Add(-time.Minute))
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	who, err := auth.New(auth.Options{Store: s.store})
	require.NoError(t, err)
	office := admin.New(admin.Options{Store: s.store})
	server, err := api.New(api.Options{}, api.Deps{
		Store: s.store, Objects: blob.NewMemory(), Auth: who, Keyring: ring, Admin: office, Outbound: admin.NewOutbound(office, newEngine(t, s.store)),
	})
	require.NoError(t, err)
	s.http = httptest.NewServer(server.Handler())
	t.Cleanup(s.http.Close)
	dir, err := os.MkdirTemp("", "ctl") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.socket, err = net.Listen("unix", filepath.Join(dir, "admin.sock"))
	require.NoError(t, err)
	h := &http.Server{Handler: server.AdminHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = h.Serve(s.socket) }()
	t.Cleanup(func() { _ = h.Close() })
	return s
}

// env are the variables of a script, and the files with API keys that it finds.
func (s *site) env(t *testing.T, dir string) map[string]string {
	t.Helper()
	env := map[string]string{"MAIRUST_SOCKET": s.socket.Addr().String(), "URL": s.http.URL, "TZ": "UTC", "LANG": "C", "TENANT": string(s.one.Tenant.ID), "OTHER": string(s.two.Tenant.ID)}
	office := admin.New(admin.Options{Store: s.store})
	for name, want := range map[string]wire.NewAPIKey{
		"desk.key": {Name: "desk", Role: "helpdesk", Tenant: "one"}, "boss.key": {Name: "boss", Role: "tenant_admin", Tenant: "one"},
		"audit.key": {Name: "audit", Role: "auditor", Tenant: "one"}, "other.key": {Name: "other", Role: "tenant_admin", Tenant: "two"},
	} {
		made, err := office.CreateAPIKey(context.Background(), auth.Socket("0"), want)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(made.Key+"\n"), 0o600))
	}
	return env
}

// engine judges messages of accounts that nothing is known of, with the defaults and one profile.
type engine struct {
	store    *store.Store
	options  policy.Options
	policy   *policy.Policy
	profiles []policy.Profile
}

func newEngine(t *testing.T, s *store.Store) *engine {
	t.Helper()
	e := &engine{
		store: s, options: policy.Options{Mode: policy.Enforce}.WithDefaults(),
		profiles: []policy.Profile{{ID: "letters", Accounts: []string{"ann@one.test"}, MaxRate: "5000 msgs/hour", Description: "monthly"}},
	}
	var err error
	e.policy, err = policy.Compile(e.options, e.profiles)
	require.NoError(t, err)
	return e
}

func (e *engine) InForce() (policy.Options, *policy.Policy) { return e.options, e.policy }

func (e *engine) Settings(o policy.Options) (string, error) {
	return fmt.Sprintf("mode: %s\nauto_suspend: %t\n", o.Mode, *o.AutoSuspend), nil
}

func (e *engine) ConfigProfiles() []policy.Profile { return e.profiles }

func (e *engine) TenantOf(ctx context.Context, a policy.Account) (store.TenantID, error) {
	d, err := e.store.DomainByName(ctx, a.Domain())
	if err != nil {
		return "", err
	}
	return d.Tenant, nil
}

// Try commits one message. One that says so is spam.
func (e *engine) Try(_ context.Context, trial admin.Trial) (policy.Decision, error) {
	event := policy.Event{
		Kind: policy.KindCommit, Account: trial.Account, Tenant: string(trial.Tenant), Mode: trial.Mode, Transaction: 1,
		Content: policy.Content{SpamKnown: true, Fingerprint: 7, SizeBytes: int64(len(trial.Message))},
	}
	for i := range trial.Recipients {
		event.Recipients = append(event.Recipients, uint64(i)+1)
	}
	if strings.Contains(string(trial.Message), "spam") {
		event.Content.Spam, event.Content.ListedURL = 20*policy.Micro, true
	}
	d, _ := policy.Decide(policy.State{}, event, e.policy, time.Now().UnixMicro())
	return d, nil
}
