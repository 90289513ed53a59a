package ui_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// patience is how long a browser may take for one thing; it is far more than it needs.
const patience = time.Minute

// onChromium runs a test with a store on SQLite; what the pages say is tested on both databases without a browser.
func onChromium(t *testing.T) (*rig, *tab) {
	t.Helper()
	s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))})
	r := newRig(t, s)
	return r, newTab(t, r.http.URL)
}

// tab is a page in Chromium that notes what must not happen.
type tab struct {
	// ctx is chromedp's handle of the page.
	ctx  func() context.Context
	base string
	mu   sync.Mutex
	// strays are requests to other origins, faults what the console complains of, dialogs what scripts have opened.
	strays, faults, dialogs []string
	requests                int
}

// newTab starts a Chromium for this test alone. Without one the test is skipped, loudly; with CI=true it fails.
// Whatever is not on loopback goes to a proxy that only takes notes, from frames of other processes too.
func newTab(t testing.TB, base string) *tab {
	t.Helper()
	program := labtest.Program(t, "chromium", "chromium")
	b := &tab{base: base}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.stray(r.Method + " " + r.URL.String())
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("lang", "en-US"), chromedp.Flag("proxy-server", proxy.URL), chromedp.UserDataDir(t.TempDir()))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stopAllocator)
	ctx, stop := chromedp.NewContext(allocator, chromedp.WithListener(b.note))
	b.ctx = func() context.Context { return ctx }
	t.Cleanup(func() {
		if t.Failed() && ctx.Err() == nil {
			b.shoot(t, "failed-"+strings.ReplaceAll(t.Name(), "/", "-"))
		}
		stop()
	})
	require.NoError(t, chromedp.Do(ctx)) // without a deadline: the browser ends with the context of its first action
	call(t, b, network.Enable, network.EnableParams{})
	call(t, b, log.Enable, cdp.Empty{})
	return b
}

// ownTraffic is what Chromium asks its makers for, whatever it is told.
var ownTraffic = []string{"google", "gstatic", "gvt1", "chromium"}

func (b *tab) stray(request string) {
	if slices.ContainsFunc(ownTraffic, func(host string) bool { return strings.Contains(request, host) }) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.strays = append(b.strays, request)
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests++
		if url := e.Request.URL; !strings.HasPrefix(url, b.base+"/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			b.strays = append(b.strays, url)
		}
	case *page.EventJavascriptDialogOpening:
		b.dialogs = append(b.dialogs, e.Message)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			b.faults = append(b.faults, string(e.Entry.Source)+": "+e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			b.faults = append(b.faults, fmt.Sprintf("console: %s", e.Args[0].Value))
		}
	}
}

// clean requires that nothing has happened that must not.
func (b *tab) clean(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.strays, "requests that leave the page's origin")
	require.Empty(t, b.dialogs, "dialogs that scripts have opened")
	require.Empty(t, b.faults, "complaints of the browser")
	require.Positive(t, b.requests, "the network log works")
}

func (b *tab) do(t testing.TB, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, actions...))
}

func call[P, R any](t testing.TB, b *tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	require.NoError(t, err)
	return result
}

func (b *tab) open(t testing.TB, path string) {
	t.Helper()
	b.do(t, chromedp.Navigate(b.base+path))
}

// signIn gives the browser a session.
func (b *tab) signIn(t testing.TB, r *rig, user store.UserID) {
	t.Helper()
	b.cookie(t, "mairust", r.session(t, user))
}

func (b *tab) cookie(t testing.TB, name, value string) {
	t.Helper()
	yes := true
	call(t, b, network.SetCookie, network.SetCookieParams{
		Name: name, Value: value, URL: b.base + "/", HTTPOnly: &yes, SameSite: network.CookieSameSiteLax,
	})
}

// look sets language and theme, as a browser remembers them.
func (b *tab) look(t testing.TB, language, theme string) {
	t.Helper()
	b.cookie(t, "mairust-look", "l="+language+"&t="+theme+"&z=")
}

func (b *tab) size(t testing.TB, width, height int64) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, height))
}

// eval evaluates an expression, waiting for a promise.
func eval[T any](t testing.TB, b *tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(t, err, expression)
	return result
}

// until waits for an expression to be true, across pages.
func (b *tab) until(t testing.TB, expression string) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(b.ctx(), patience)
		defer cancel()
		// An error here is that of a page which is just going.
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && ok
	}, patience, 10*time.Millisecond, expression)
}

// shoot takes a picture, if MAIRUST_SCREENSHOTS names a folder.
func (b *tab) shoot(t testing.TB, name string) {
	t.Helper()
	dir := os.Getenv("MAIRUST_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/"+name+".png", picture, 0o600))
}
