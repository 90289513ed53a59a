package safe_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/ui/safe"
)

// hook is there before a page's own scripts: whatever runs is counted.
const hook = `window.__pwned=0;for(const f of["alert","confirm","prompt","print","open","fetch"])window[f]=()=>{window.__pwned++};
addEventListener("error",()=>{},true);navigator.sendBeacon=()=>{window.__pwned++};`

// probe clicks and touches everything, then says what it found that must not be there.
const probe = `(()=>{const bad=[];
for(const e of document.querySelectorAll("*")){
 for(const a of e.attributes)if(/^on/i.test(a.name)||/^(srcdoc|srcset|ping|formaction|action|data|poster|background)$/i.test(a.name))bad.push(e.tagName+" "+a.name);
 if(e.namespaceURI!=="http://www.w3.org/1999/xhtml"||/^(SCRIPT|IFRAME|OBJECT|EMBED|FORM|INPUT|BUTTON|TEMPLATE|NOSCRIPT|BASE|LINK)$/.test(e.tagName))bad.push(e.tagName);
 if(e.tagName==="A"&&e.hasAttribute("href")&&!/^(https?:|mailto:|tel:)$/.test(e.protocol))bad.push("href "+e.href);
 const p=getComputedStyle(e);if(p.position!=="static"&&!e.closest(".mairust-host"))bad.push("position "+p.position);if(/url\(/.test(p.backgroundImage+p.listStyleImage+p.content+p.cursor))bad.push("style url");
}
for(const t of["focus","mouseover","pointerover","animationstart","toggle","wheel","copy"])for(const e of document.querySelectorAll("*"))e.dispatchEvent(new Event(t,{bubbles:true}));
for(const e of document.querySelectorAll("a"))e.addEventListener("click",v=>v.preventDefault()),e.click();
if(typeof document.getElementById!=="function"||document.body.tagName!=="BODY"||typeof document.cookie!=="string"||document.characterSet!=="UTF-8")bad.push("document");
if(window.__pwned)bad.push("ran "+window.__pwned);return bad})()`

// browser opens pages in Chromium, without sandbox attributes and Content-Security-Policy, and keeps what they ask for.
type browser struct {
	ctx   context.Context //nolint:containedctx // chromedp's handle of a tab is a context
	url   string
	pages []string
	mu    sync.Mutex
	asked []string
}

func newBrowser(t *testing.T, pages []string) *browser {
	t.Helper()
	path := labtest.Program(t, "chromium", "chromium")
	b := &browser{pages: pages}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.url = server.URL
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancelAllocator)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	b.ctx = ctx
	require.NoError(t, chromedp.Listen(ctx, b.event))
	_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: hook})
	require.NoError(t, err)
	return b
}

// ServeHTTP leaves out the charset, so that only the page itself says it.
func (b *browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/page/"))
	if err != nil || n >= len(b.pages) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, b.pages[n])
}

func (b *browser) event(ev any) {
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		own := strings.HasPrefix(ev.Request.URL, b.url+"/page/") || ev.Request.URL == b.url+"/favicon.ico" // asked for by the window, not the page
		if !own && !strings.HasPrefix(ev.Request.URL, "data:") {
			b.note(ev.Request.URL)
		}
	case *page.EventJavascriptDialogOpening:
		b.note("dialog " + ev.Message)
	}
}

func (b *browser) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, s)
}

// open shows page n and returns all that it did.
func (b *browser) open(t *testing.T, n int) []string {
	t.Helper()
	b.mu.Lock()
	b.asked = nil
	b.mu.Unlock()
	require.NoError(t, chromedp.Do(b.ctx, chromedp.Navigate(fmt.Sprintf("%s/page/%d", b.url, n))))
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](probe))
	require.NoError(t, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(found, b.asked...)
}

func TestNothingRunsOrLeavesInChromium(t *testing.T) {
	inputs := payloads(t)
	var pages []string
	for _, in := range inputs {
		page, _ := render(t, in, safe.Options{})
		pages = append(pages, page)
	}
	b := newBrowser(t, pages)
	for n := range pages {
		require.Empty(t, b.open(t, n), "input %q\npage %s", inputs[n], afterPaper(pages[n]))
	}
}

func TestTheBrowserTestSeesWhatRuns(t *testing.T) {
	for n, found := range func() (all [][]string) {
		raw := []string{"<script>alert(1)</script>", "<img src=https://evil.example/x.png>", "<svg onload=alert(1)>", "<p onclick=alert(1)>x", "<p style='background:url(https://evil.example/)'>x",
			"<p style=position:fixed>x", "<a href=javascript:alert(1)>x</a>", "<img name=getElementById>"}
		b := newBrowser(t, raw)
		for n := range raw {
			all = append(all, b.open(t, n))
		}
		return all
	}() {
		require.NotEmpty(t, found, n)
	}
}

// sight says for each mark whether it is what one sees and can read at its place.
const sight = `[...document.querySelectorAll("span.mairust-host>bdi")].map(e=>{e.scrollIntoView({block:"center",inline:"nearest"});const r=e.getBoundingClientRect(),s=getComputedStyle(e);
const at=document.elementFromPoint(r.left+r.width/2,r.top+r.height/2);
return at===e&&r.width>=8&&r.height>=12&&s.fontSize==="12px"&&s.color==="rgb(138, 28, 20)"&&s.backgroundColor==="rgb(255, 255, 255)"?"":e.outerHTML+JSON.stringify(r)+s.cssText})`

func TestNothingInAMailHidesWhereALinkLeads(t *testing.T) {
	const link = `<a href="https://evil.example/">https://bank.co.jp/</a>`
	var pages []string
	for _, around := range []string{"%s", `<div style="font-size:0;line-height:0;color:#fff;width:1px;max-height:0;max-width:0;height:0;white-space:nowrap;letter-spacing:50px;text-indent:300px">%s</div>cover cover cover`,
		`<style>*{display:inline;color:white;background:white;font-size:0;line-height:0;width:0;height:0;max-height:0;border:0} span{display:none!important;float:left} .mairust-host,.m-mairust-host{display:none}</style>%s`,
		`<table width=1 height=1 style="table-layout:fixed"><tr height=1><td width=1 height=1 style="font-size:0;width:0;height:0;overflow:hidden;padding:0">%s</td><td bgcolor=white>cover cover cover</td></tr></table>`,
		`<p style="direction:rtl;unicode-bidi:bidi-override;text-transform:uppercase;float:left;width:0">%s</p><p style="margin-top:-50px;background:#fff;position:relative;z-index:9">cover</p>`,
		`<div style="height:0;white-space:nowrap">%s</div><span style="background:#fff;font-size:90px">cover cover cover cover</span>`,
		`<div style="white-space:nowrap"><a href="https://evil.example/">bank.co.jp<span style="display:inline-block;width:2000px"></span></a></div><!--%s-->`} {
		page, report := render(t, fmt.Sprintf(around, link), safe.Options{})
		require.Equal(t, 1, report.DeceptiveLinks)
		pages = append(pages, page)
	}
	b := newBrowser(t, pages)
	for n := range pages {
		require.Empty(t, b.open(t, n))
		seen, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](sight))
		require.NoError(t, err)
		require.Equal(t, []string{""}, seen, "%s", afterPaper(pages[n]))
	}
}
