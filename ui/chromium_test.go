package ui_test

import (
	_ "embed"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

//go:embed testdata/axe.min.js
var axe string

// axeRun gives what axe finds that is serious or worse. Bodies of messages are their senders' and not looked at.
func axeRun(options string) string {
	return `axe.run(document, {` + options + `iframes: false, resultTypes: ["violations"]}).then(r => r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html.slice(0, 200)).join(" | ")))`
}

// smallTargets gives the controls below 24 by 24 pixels (WCAG 2.2, 2.5.8), but for links within text. What a label
// encloses is as large as the label.
const smallTargets = `[...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")]
	.filter(e => e.checkVisibility() && !e.closest(".vh, .skip, dd, p, td") && !e.matches(".vh, .skip, .pick, .drawer-switch"))
	.filter(e => { const r = (e.closest("label") || e).getBoundingClientRect(); return r.width > 1 && (r.width < 24 || r.height < 24) })
	.map(e => e.outerHTML.slice(0, 200))`

const sidewaysScroll = `document.documentElement.scrollWidth > document.documentElement.clientWidth`

// spot is a page to look at, with who looks.
type spot struct {
	path string
	who  store.UserID
	away bool
}

func (r *rig) spots(t testing.TB) []spot {
	t.Helper()
	ids := r.fill(t)
	deleted := r.deliver(t, store.Inbox, plainMail)
	_, err := r.store.DeleteMessages(t.Context(), store.System, []store.MessageID{deleted})
	require.NoError(t, err)
	hanako, help := r.site.Users["hanako"].ID, r.person(t, "help@example.test", auth.Helpdesk)
	require.NoError(t, r.store.Audit(t.Context(), store.AuditEntry{
		Tenant: r.site.Tenant.ID, Actor: "help@example.test", ActorKind: "user", Action: "message.read",
		Target: string(ids["Welcome"]), Reason: "ticket 4711",
	}))
	_, err = r.store.CreateAppPassword(t.Context(), store.AppPassword{Tenant: r.site.Tenant.ID, User: hanako, Name: "Thunderbird", Hash: "x", Created: time.Now()})
	require.NoError(t, err)
	root := r.superAdmin(t)
	r.watch.fail("disk", "/var/lib/mairust: 3 % free, 1.2 GB, 88 % of inodes")
	r.watch.fail("storage", "check object store: read-only file system")
	letter, news := "/message/"+string(ids["Re: Contract draft, second round"]), "/message/"+string(ids["春の新商品のご案内と会員様限定セールのお知らせ"])
	return []spot{
		{path: "/login"}, {path: "/login/link?token=x"}, {path: "/login/link"}, {path: "/nothing"},
		{path: "/mail/hanako@example.test?done=delete&n=2", who: hanako}, {path: "/mail/hanako@example.test?folder=Trash", who: hanako},
		{path: "/mail/hanako@example.test?folder=%2F%2Fdeleted", who: hanako}, {path: letter, who: hanako}, {path: news, who: hanako},
		{path: "/message/" + string(ids["Your account has been limited"]), who: hanako},
		{path: letter + "?view=headers", who: hanako}, {path: letter + "?view=source", who: hanako}, {path: letter, who: hanako, away: true},
		{path: "/settings?done=preferences", who: hanako}, {path: "/access", who: hanako}, {path: "/help", who: hanako},
		{path: "/mailboxes", who: help}, {path: "/mail/hanako@example.test", who: help},
		{path: "/system", who: root}, {path: "/mailboxes", who: root}, // with the line about what fails
	}
}

func TestEveryPageIsForEverybody(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	spots := r.spots(t)
	sessions := map[store.UserID]string{"": "nobody"}
	for _, s := range spots {
		if _, ok := sessions[s.who]; !ok {
			sessions[s.who] = r.session(t, s.who)
		}
	}
	for _, language := range []string{"en", "ja"} {
		b.look(t, language, "light")
		for _, s := range spots {
			name := language + " " + s.path
			b.cookie(t, "mairust", sessions[s.who])
			r.objects.away.Store(s.away)
			b.size(t, 1280, 800)
			b.open(t, s.path)
			require.Equal(t, language+" light", eval[string](t, b, `document.documentElement.lang + " " + document.documentElement.dataset.theme`), name)
			b.do(t, chromedp.Evaluate[chromedp.Void](axe+";undefined"))
			require.Empty(t, eval[[]string](t, b, axeRun("")), name)
			b.do(t, chromedp.Evaluate[chromedp.Void](`document.documentElement.dataset.theme = "dark"`))
			require.Empty(t, eval[[]string](t, b, axeRun(`runOnly: ["color-contrast"], `)), "dark "+name)
			b.size(t, 390, 800)
			require.False(t, eval[bool](t, b, sidewaysScroll), "%s scrolls sideways on a phone", name)
			require.Empty(t, eval[[]string](t, b, smallTargets), name)
		}
	}
	b.clean(t)
}

func TestReadingWithTheKeyboard(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	r.withPassword(t, r.site.Users["hanako"].ID)
	r.fill(t)
	b.size(t, 1280, 800)
	b.open(t, "/mail/hanako@example.test")
	b.do(t, chromedp.SendKeys(chromedp.ID("login"), "hanako@example.test"), chromedp.SendKeys(chromedp.ID("password"), password+"\r"))
	b.until(t, `location.pathname === "/mail/hanako@example.test" && document.documentElement.classList.contains("js")`)

	press := func(keys string) { t.Helper(); b.do(t, chromedp.KeyEvent(keys)) }
	focused := `document.activeElement.closest(".row") && [...document.querySelectorAll(".row")].indexOf(document.activeElement.closest(".row"))`
	press("j")
	b.until(t, focused+" === 0")
	press("j")
	press("j")
	press("k")
	b.until(t, focused+" === 1")
	press("\r")
	b.until(t, `document.querySelector("#subject")?.textContent.trim() === "来週の打ち合わせの件"`)
	b.until(t, `location.pathname.startsWith("/message/") && document.querySelectorAll(".row.open").length === 1`)
	b.until(t, `!document.querySelector(".row.open").classList.contains("unread")`)
	press("j")
	b.until(t, focused+" === 2")
	press("u")
	b.until(t, focused+" === 1")

	b.do(t, chromedp.NavigateBack())
	b.until(t, `location.pathname === "/mail/hanako@example.test" && !document.querySelector("#subject")`)
	list, err := r.store.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: r.site.Mailboxes["hanako"].ID, Folder: store.Inbox, Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{`\Seen`}, list[1].Flags, "what was opened is read")
	require.Empty(t, list[0].Flags, "what was passed by is not")

	// Keys that make up Japanese text, and those typed into a field, are not commands.
	composing := `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "?", isComposing: true, bubbles: true, cancelable: true}))`
	require.True(t, eval[bool](t, b, composing), "nobody has taken the key")
	// Sent as browsers send it: one event that is the key and its text.
	call(t, b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"})
	b.until(t, `document.activeElement.id === "filter" && document.activeElement.value === ""`)
	b.do(t, chromedp.SendKeys(chromedp.ID("filter"), "請求書"))
	b.until(t, `[...document.querySelectorAll(".row")].filter(r => !r.hidden).length === 1`)
	press("?j")
	b.until(t, `document.querySelector("#filter-none").checkVisibility()`)
	press("\x1b")
	b.until(t, `[...document.querySelectorAll(".row")].every(r => !r.hidden)`)
	press("?")
	b.until(t, `location.pathname === "/help"`)
	b.clean(t)
}

func TestEnterInTheFieldOfATagAddsIt(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	r.fill(t)
	b.signIn(t, r, r.site.Users["hanako"].ID)
	list := func() []store.Message {
		t.Helper()
		list, err := r.store.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: r.site.Mailboxes["hanako"].ID, Folder: store.Inbox, Limit: 50})
		require.NoError(t, err)
		return list
	}
	before := list()
	require.Empty(t, before[0].Flags)
	b.open(t, "/mail/hanako@example.test")
	b.do(t, chromedp.Click(chromedp.CSS(".row:nth-child(1) .pick-label")), chromedp.SendKeys(chromedp.ID("list-tag"), "plans\r"))
	b.until(t, `location.search.includes("done=tag") && document.readyState === "complete"`)
	after := list()
	require.Empty(t, after[0].Flags, "it was not marked as read")
	require.Contains(t, after[0].Tags, "plans")

	// Enter does nothing where nothing was written: in the empty field, and on a box.
	const path = "/mail/hanako@example.test"
	for _, field := range []string{"#list-tag", ".row:nth-child(1) .pick"} {
		b.open(t, path+"?done=none")
		b.do(t, chromedp.Click(chromedp.CSS(".row:nth-child(1) .pick-label")))
		b.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("`+field+`").focus()`), chromedp.KeyEvent("\r"))
		b.until(t, `location.search === "" && document.readyState === "complete"`)
		require.Equal(t, after, list())
	}
	b.clean(t)
}

func TestOnePaneOnAPhone(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	r.fill(t)
	b.signIn(t, r, r.site.Users["hanako"].ID)
	b.size(t, 390, 800)
	visible := func(selector string) string { return `document.querySelector("` + selector + `")?.checkVisibility()` }
	b.open(t, "/mail/hanako@example.test")
	b.until(t, visible(".list")+"&& !"+visible(".reading")+"&& !"+visible(".rail"))
	b.do(t, chromedp.Click(chromedp.CSS("#drawer")))
	b.until(t, visible(".rail"))
	b.do(t, chromedp.Click(chromedp.CSS("#drawer")))
	b.do(t, chromedp.Click(chromedp.CSS(".row:nth-child(4) .row-link")))
	b.until(t, visible(".message")+"&& !"+visible(".list")+"&& !"+visible(".rail"))
	b.do(t, chromedp.Click(chromedp.CSS("a.back")))
	b.until(t, visible(".list")+"&& !"+visible(".message"))
	b.clean(t)
}

// payloads are what people have put into mail to be run by those who read it.
var payloads = []string{
	`<script>alert(1)</script>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `</title><script>alert(1)</script>`,
	`<svg onload=alert(1)>`, `<svg><script>alert(1)</script></svg>`, `<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`,
	`<iframe src="javascript:alert(1)"></iframe>`, `<iframe srcdoc="<script>alert(1)</script>"></iframe>`, `<a href="javascript:alert(1)">x</a>`,
	`<a href="java&#9;script:alert(1)">x</a>`, `<a href="data:text/html,<script>alert(1)</script>">x</a>`, `<body onload=alert(1)>`,
	`<img src="https://evil.test/p.gif">`, `<img srcset="https://evil.test/s.gif 1x">`, `<picture><source srcset="https://evil.test/q.gif"><img></picture>`,
	`<video poster="https://evil.test/v.png" autoplay src="https://evil.test/v.mp4"></video>`, `<audio src="https://evil.test/a.mp3" autoplay></audio>`,
	`<link rel="stylesheet" href="https://evil.test/a.css">`, `<link rel="prefetch" href="https://evil.test/b">`, `<link rel="dns-prefetch" href="//evil.test">`,
	`<style>@import "https://evil.test/i.css"; body{background:url(https://evil.test/b.png)}</style>`, `<div style="background:url('https://evil.test/d.png')">x</div>`,
	`<div style="background:\75rl(https://evil.test/e.png)">x</div>`, `<meta http-equiv="refresh" content="0;url=https://evil.test/">`, `<base href="https://evil.test/">`,
	`<form action="https://evil.test/"><input autofocus onfocus=alert(1)><button>x</button></form>`, `<object data="https://evil.test/o.swf"></object>`,
	`<embed src="https://evil.test/m.swf">`, `<input type=image src="https://evil.test/n.png">`, `<table background="https://evil.test/t.png"><tr><td>x</td></tr></table>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<!--><script>alert(1)</script-->`, `<template><img src=x onerror=alert(1)></template>`,
	`<details open ontoggle=alert(1)>x</details>`, `<marquee onstart=alert(1)>x</marquee>`, `<xss style="animation-name:x" onanimationstart=alert(1)>`,
	`{{constructor.constructor('alert(1)')()}}`, `${alert(1)}`, `";alert(1);//`, `javascript:alert(1)`,
	`<div hx-get="/logout" hx-trigger="load">x</div>`, `<div hx-on::load="alert(1)" hx-vals="js:{a:alert(1)}">x</div>`,
	`<a href="https://evil.test/" ping="https://evil.test/ping" target="_top">x</a>`, `<button formaction="javascript:alert(1)">x</button>`,
	"\u202egpj.exe", "<img src=x onerror\x00=alert(1)>", `<scr<script>ipt>alert(1)</scr</script>ipt>`,
}

func TestHostileMailRunsAndLoadsNothing(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	b.signIn(t, r, r.site.Users["hanako"].ID)
	var ids []store.MessageID
	for _, p := range payloads {
		line := strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(p)
		ids = append(ids, r.deliver(t, store.Inbox, letter{
			from: quoted(line) + " <" + strings.NewReplacer("<", "", ">", "", " ", "").Replace(line) + "@evil.test>", subject: line, text: p, html: "<p>before</p>" + p + "<p>after</p>",
			files: []string{line + ".pdf", line + ".html"},
		}.data(), line))
	}
	b.open(t, "/mail/hanako@example.test")
	require.Equal(t, len(payloads), eval[int](t, b, `document.querySelectorAll(".row").length`))
	for i, id := range ids {
		if i%6 == 0 {
			b.open(t, "/message/"+string(id)+"?view=source")
			b.open(t, "/message/"+string(id))
		} else {
			b.do(t, chromedp.Evaluate[chromedp.Void](`document.getElementById("row-`+string(id)+`").querySelector("a").click()`))
			b.until(t, `document.querySelector("#reading .message")?.dataset.id === "`+string(id)+`"`)
		}
		b.until(t, `frames.length === 1 && performance.getEntriesByType("resource").some(e => e.name.endsWith("`+string(id)+`/body"))`)
		require.Contains(t, eval[string](t, b, `document.querySelector("#subject").textContent`), strings.NewReplacer("\x00", "", "\u202e", "").Replace(payloads[i]))
	}
	// The frame's address is no way around its policy.
	for _, id := range ids[:6] {
		b.open(t, "/message/"+string(id)+"/body")
		require.True(t, eval[bool](t, b, `document.querySelector("script, iframe, object, embed, form, meta[http-equiv]") === null`))
	}
	b.clean(t)
}

func TestPicturesOfElsewhereAreLoadedOnceAskedFor(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	id := r.deliver(t, store.Inbox, letter{from: "news@example.org", subject: "news", html: newsletter}.data())
	b.signIn(t, r, r.site.Users["hanako"].ID)
	b.open(t, "/message/"+string(id))
	b.clean(t)
	b.do(t, chromedp.Click(chromedp.CSS(".bar-note a.button")))
	b.until(t, `location.search.includes("remote=1") && document.readyState === "complete"`)
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return strings.Contains(strings.Join(b.strays, " "), "images.example.org")
	}, patience, 10*time.Millisecond)
	b.open(t, "/message/"+string(id))
	require.Contains(t, eval[string](t, b, `document.querySelector(".bar-note").textContent`), "2 images", "asking holds for one view")
}
