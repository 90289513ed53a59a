package ui_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
)

// tooWide gives what stands out of the page on the right.
const tooWide = `[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll"))
	.map(e => e.outerHTML.slice(0, 120)).slice(0, 5)`

func TestEveryPageAboutSendingIsForEverybody(t *testing.T) {
	t.Parallel()
	r, b, spots := onBadDay(t)
	for _, language := range []string{"en", "ja"} {
		b.look(t, language, "light")
		for _, s := range spots {
			name := language + " " + s.path
			b.cookie(t, "mairust", r.session(t, s.who))
			b.size(t, 1280, 800)
			b.open(t, s.path)
			require.Equal(t, language+" light", eval[string](t, b, `document.documentElement.lang + " " + document.documentElement.dataset.theme`), name)
			require.False(t, eval[bool](t, b, `Boolean(document.querySelector(".problem"))`), name)
			b.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(d => d.open = true);undefined`))
			b.do(t, chromedp.Evaluate[chromedp.Void](axe+";undefined"))
			require.Empty(t, eval[[]string](t, b, axeRun("")), name)
			b.do(t, chromedp.Evaluate[chromedp.Void](`document.documentElement.dataset.theme = "dark"`))
			require.Empty(t, eval[[]string](t, b, axeRun(`runOnly: ["color-contrast"], `)), "dark "+name)
			b.size(t, 390, 800)
			require.False(t, eval[bool](t, b, sidewaysScroll), "%s scrolls sideways on a phone: %s", name, eval[[]string](t, b, tooWide))
			require.Empty(t, eval[[]string](t, b, smallTargets), name)
		}
	}
	b.clean(t)
}

func TestThePlotIsDrawnFromItsTable(t *testing.T) {
	t.Parallel()
	r, b, _ := onBadDay(t)
	b.cookie(t, "mairust", r.session(t, r.person(t, "audit@example.test", "auditor")))
	b.look(t, "en", "light")
	b.size(t, 1280, 900)
	b.open(t, stolenURL+"/why")
	const svg = `document.querySelector(".plot-area svg")`
	b.until(t, svg+`?.textContent.includes("limit 200/h")`) // drawn once its width is known
	require.False(t, eval[bool](t, b, `document.querySelector(".plot details").open`), "the table is folded away")
	text := eval[string](t, b, svg+`.textContent`)
	for _, want := range []string{"limit 200/h", "▼ stopped", "203.0.113.77", "new recipients"} {
		require.Contains(t, text, want)
	}
	label := eval[string](t, b, `document.querySelector(".plot-area [role=img]")?.getAttribute("aria-label") || document.querySelector(".plot-area").getAttribute("aria-label")`)
	require.Regexp(t, `Recipients and attempts from .* sent, \d+ deferred, \d+ refused`, label)
	fills := `[...new Set([...document.querySelectorAll(".plot-area svg [fill]")].map(e => e.getAttribute("fill")))].join(" ")`
	light := eval[string](t, b, fills)
	b.do(t, chromedp.Evaluate[chromedp.Void](`document.documentElement.dataset.theme = "dark"`))
	b.until(t, fills+` !== "`+light+`"`)
	require.Regexp(t, `rgb\(90, ?162, ?220\)|#5aa2dc`, eval[string](t, b, fills))

	// The tooltip is drawn, not written: the page's policy forbids styles inline.
	b.do(t, chromedp.Evaluate[chromedp.Void](svg+`.scrollIntoView({behavior: "instant", block: "center"});undefined`))
	at := eval[[]float64](t, b, `(r => [r.left + r.width * 0.7, r.top + 120])(`+svg+`.getBoundingClientRect())`)
	b.do(t, chromedp.MouseEvent(chromedp.MouseMoved, at[0], at[1]))
	b.until(t, svg+`.textContent.includes("deferred (attempts): ")`)
	b.clean(t)
}

func TestAStopIsReleasedWithTheKeyboard(t *testing.T) {
	t.Parallel()
	r, b, _ := onBadDay(t)
	b.cookie(t, "mairust", r.session(t, r.person(t, "help@example.test", "helpdesk")))
	b.look(t, "en", "light")
	b.size(t, 1280, 900)
	b.open(t, "/outbound/accounts")
	call(t, b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"})
	b.until(t, `document.activeElement.id === "find"`)
	b.do(t, chromedp.KeyEvent("hanako\r"))
	b.until(t, `location.search.includes("q=hanako") && document.querySelectorAll("tbody tr").length === 1`)
	b.open(t, stolenURL+"/why")
	b.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelector(".acts-row summary").focus()`))
	b.do(t, chromedp.KeyEvent("\r"))
	b.until(t, `document.querySelector("#release-reason").checkVisibility()`)
	b.do(t, chromedp.KeyEvent("\tthe owner called, new password\r"))
	b.until(t, `location.pathname === "`+stolenURL+`" && document.querySelector(".state-soft_limit")`)
	a, err := r.store.OutboundAccount(t.Context(), store.System, stolen)
	require.NoError(t, err)
	require.Equal(t, int64(20), a.CapPerHour, "as it was filled in")
	b.clean(t)
}

func TestAModeIsChangedInABrowser(t *testing.T) {
	t.Parallel()
	r, b, _ := onBadDay(t)
	b.cookie(t, "mairust", r.session(t, r.person(t, "admin@example.test", "tenant_admin")))
	for i, look := range [][2]string{{"en", "shadow"}, {"ja", "enforce"}} {
		b.look(t, look[0], "light")
		b.size(t, 1280, 900)
		b.open(t, "/outbound/policy")
		b.do(t, chromedp.Click(chromedp.CSS(".mode-change > summary")))
		b.until(t, `document.querySelector("#mode-reason").checkVisibility()`)
		b.do(t, chromedp.Click(chromedp.CSS(`input[name=mode][value=`+look[1]+`]`)))
		b.do(t, chromedp.SendKeys(chromedp.ID("mode-reason"), "two weeks are over"))
		if os.Getenv("MAIRUST_SCREENSHOTS") != "" {
			b.shoot(t, "out-mode-form-"+look[0])
		}
		b.do(t, chromedp.Click(chromedp.CSS(".mode-change button.primary")))
		b.until(t, `location.pathname === "/outbound/modes" && document.querySelector("input[name=confirm]")`)
		b.do(t, chromedp.Evaluate[chromedp.Void](axe+";undefined"))
		require.Empty(t, eval[[]string](t, b, axeRun("")), look[0])
		for _, width := range []int64{390, 1280} {
			b.size(t, width, 800)
			require.False(t, eval[bool](t, b, sidewaysScroll))
			if os.Getenv("MAIRUST_SCREENSHOTS") != "" {
				b.shoot(t, fmt.Sprintf("out-mode-confirm-%s-%d", look[0], width))
			}
		}
		b.do(t, chromedp.Click(chromedp.CSS("main form button")))
		b.until(t, `location.pathname === "/outbound/policy" && document.querySelector(".note[role=status]")`)
		events, err := r.store.OutboundTenantHistory(t.Context(), store.System, r.site.Tenant.ID, store.LogKey{}, 1)
		require.NoError(t, err)
		require.Equal(t, look[1]+" two weeks are over", events[0].Mode+" "+events[0].Reason, "round %d", i)
	}
	b.clean(t)
}
