package ui_test

import (
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

const (
	inbox = "/mail/hanako@example.test"
	act   = inbox + "/act"
)

func TestMailboxesArePagedByWhatTheyAreSortedBy(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		var want []string
		for i := range 70 { // the last of a page is sorted as ...SS..., and written as ...ß...
			address, err := mail.ParseUnquoted(fmt.Sprintf("fu%02dß@example.test", i))
			require.NoError(t, err)
			m, _, err := r.store.EnsureMailbox(t.Context(), r.site.Tenant.ID, address, "")
			require.NoError(t, err)
			want = append(want, m.Address)
			address.Local = strings.Replace(address.Local, "ß", "st", 1)
			m, _, err = r.store.EnsureMailbox(t.Context(), r.site.Tenant.ID, address, "")
			require.NoError(t, err)
			want = append(want, m.Address)
		}
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		var shown string
		for next, pages := "/mailboxes", 0; next != ""; pages++ {
			require.Less(t, pages, 10)
			page := b.page(t, next)
			shown += words(page)
			next = ""
			if m := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(page); m != nil {
				next = html.UnescapeString(m[1])
			}
		}
		for _, address := range want {
			require.Equal(t, 1, strings.Count(shown, " "+address+" "), address)
		}
	})
}

func TestListIsPagedByTheMessagesThemselves(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		copies := make([]store.Copy, 0, 60)
		for i := range 60 {
			copies = append(copies, storetest.NewCopy(t, r.site.Target("hanako"), fmt.Sprintf("number-%02d.", i)))
		}
		for _, c := range copies {
			storetest.Deliver(t, r.store, c)
		}
		b := r.hanako(t)
		page := b.page(t, inbox)
		require.Contains(t, page, "number-59.")
		require.Contains(t, page, "number-10.")
		require.NotContains(t, page, "number-09.")
		require.NotContains(t, page, ">Newest<")
		older := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(page)[1]
		storetest.Deliver(t, r.store, storetest.NewCopy(t, r.site.Target("hanako"), "just arrived")) // moves no page
		page = b.page(t, older)
		require.Contains(t, page, "number-09.")
		require.Contains(t, page, "number-00.")
		require.NotContains(t, page, "number-10.")
		require.NotContains(t, page, `rel="next"`)
		require.Contains(t, page, ">Newest<")
		require.Contains(t, words(b.page(t, inbox+"?before=0")), "There are no older messages")
		require.Equal(t, http.StatusNotFound, b.get(t, inbox+"?folder=Nowhere").StatusCode)
	})
}

func TestEveryActWorksByFormsAlone(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		one, two := r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "first", text: "1"}.data()), r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "second", text: "2"}.data())
		flags := func(id store.MessageID) []string {
			t.Helper()
			m, err := r.store.Message(t.Context(), store.System, id)
			require.NoError(t, err)
			return append(m.Flags, m.Tags...)
		}
		require.Contains(t, b.act(t, act, "one", "flag "+string(one), "return", inbox), "1 message starred.")
		require.Equal(t, []string{`\Flagged`}, flags(one))
		require.Empty(t, flags(two))
		require.Contains(t, b.act(t, act, "act", "read", "id", string(one), "id", string(two), "return", inbox), "2 messages marked as read.")
		require.Equal(t, []string{`\Seen`}, flags(two))
		require.NotContains(t, b.page(t, inbox), `class="row unread`)
		b.act(t, act, "act", "unread", "id", string(two), "return", inbox)
		require.Contains(t, b.page(t, inbox), `class="row unread`)
		b.act(t, act, "one", "unflag "+string(one), "return", inbox)
		require.Equal(t, []string{`\Seen`}, flags(one))

		require.Contains(t, b.act(t, act, "act", "tag", "tag", " Urgent! ", "id", string(one), "return", inbox), "1 message tagged.")
		require.Equal(t, []string{`\Seen`, "urgent-"}, flags(one))
		b.act(t, act, "act", "untag", "tag", "urgent-", "id", string(one), "return", inbox)
		require.Equal(t, []string{`\Seen`}, flags(one))
		require.Equal(t, http.StatusBadRequest, b.post(t, act, "act", "tag", "tag", "  ", "id", string(one)).StatusCode)

		page := b.act(t, act, "act", "move", "folder", "Archive", "id", string(one), "return", "/message/"+string(one), "after", inbox)
		require.Contains(t, page, "1 message moved.")
		require.NotContains(t, page, ">first<")
		require.Contains(t, b.page(t, inbox+"?folder=Archive"), "first")
		require.Equal(t, http.StatusNotFound, b.post(t, act, "act", "move", "folder", "Nowhere", "id", string(one)).StatusCode)

		require.Contains(t, b.act(t, act, "act", "delete", "id", string(one), "id", string(two), "return", inbox), "2 messages deleted.")
		require.Equal(t, http.StatusNotFound, b.get(t, "/message/"+string(one)).StatusCode)
		deleted := inbox + "?folder=%2F%2Fdeleted"
		require.Contains(t, b.page(t, deleted), "first")
		require.Contains(t, b.page(t, deleted), "second")
		require.Contains(t, b.act(t, act, "act", "undelete", "id", string(one), "return", deleted), "1 message brought back.")
		require.NotContains(t, b.page(t, deleted), "first")
		require.Contains(t, b.page(t, inbox+"?folder=Archive"), "first")

		require.Contains(t, b.act(t, act, "act", "delete", "return", inbox), "Select at least one message first.")
		require.Equal(t, http.StatusBadRequest, b.post(t, act, "act", "burn", "id", string(one)).StatusCode)
		var actions []string
		log, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: r.site.Tenant.ID}, timeZero, 10)
		require.NoError(t, err)
		for _, e := range log {
			actions = append(actions, e.Action)
			require.Equal(t, "hanako@example.test", e.Actor)
			require.NotEmpty(t, e.RequestID)
		}
		require.Equal(t, []string{"message.undelete", "message.delete", "message.move"}, actions)
	})
}

func TestEveryFolderAndStateHasItsWords(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		for path, want := range map[string]string{
			inbox:                           "No mail yet",
			inbox + "?folder=Quarantine":    "Nothing is held back",
			inbox + "?folder=Trash":         "This folder is empty",
			inbox + "?folder=%2F%2Fdeleted": "Nothing has been deleted",
			"/access":                       "Nobody else has read your mail",
		} {
			require.Contains(t, words(b.page(t, path)), want, path)
		}
		require.Contains(t, words(b.page(t, inbox, "Accept-Language", "ja-JP, en;q=0.5")), "メールはまだありません")
		require.Contains(t, r.as(t, r.person(t, "new@example.test", auth.User)).page(t, "/"), "You have no mailbox yet")
	})
}

// What was attached is shown nowhere as if the sender of the message had written it.
func TestAnAttachedMessageIsNotShownAsTheMessage(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		id := r.deliver(t, store.Inbox, "From: a@sender.test\r\nContent-Type: multipart/report; boundary=b\r\n\r\n"+
			"--b\r\nContent-Type: text/plain\r\n\r\ncould not be delivered\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"+
			"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>inner\r\n--b--\r\n")
		page := b.page(t, "/message/"+string(id))
		require.Contains(t, page, "could not be delivered")
		require.NotContains(t, page, "<iframe")
		require.NotContains(t, b.get(t, "/message/"+string(id)+"/body").body, "inner")
	})
}

func TestEveryTextOfAMessageIsShown(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		const head, end = "From: a@sender.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", "--b--\r\n"
		text, image := "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\none <b>\r\n  two\r\n", "--b\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n"
		footer := "--b\r\nContent-Type: text/plain; charset=iso-2022-jp\r\nContent-Disposition: inline\r\n\r\n\x1b$B2q5D\x1b(B\r\n"
		path := "/message/" + string(r.deliver(t, store.Inbox, head+text+image+footer+end))
		page := b.page(t, path)
		require.Contains(t, page, "one &lt;b&gt;\r\n  two\n\n----------\n\n会議</pre>")
		require.NotContains(t, page, "<iframe")
		require.Contains(t, page, "a.png")

		html := "--b\r\nContent-Type: text/html\r\n\r\n<p>head<b>line</b><style>p{\r\n"
		path = "/message/" + string(r.deliver(t, store.Inbox, head+html+text+footer+end))
		require.Contains(t, b.page(t, path), "<iframe")
		require.Contains(t, b.get(t, path+"/body").body, `<p>head<b>line</b></p><hr><div style="white-space:pre-wrap">one &lt;b&gt;`+
			"\n  two</div><hr><div style=\"white-space:pre-wrap\">会議</div>")
		require.Contains(t, b.page(t, path+"?view=text"), "headline\n\n----------\n\none &lt;b&gt;\r\n  two\n\n----------\n\n会議</pre>")
	})
}

// Pictures within HTML are what their bytes say, whatever their label.
func TestPicturesWithWrongLabelsAreShown(t *testing.T) {
	const png, jpeg, gif = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "\xff\xd8\xff\xe0\x00\x10JFIF", "GIF89a\x01\x00\x01\x00"
	const webp, svg, html = "RIFF\x10\x00\x00\x00WEBPVP8 ", "<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>", "<html><script>x</script>"
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		for _, c := range []struct{ header, data, want string }{
			{"image/png", png, "image/png"}, {"image/jpg", jpeg, "image/jpeg"}, {"image/pjpeg", jpeg, "image/jpeg"}, {"image/x-png", png, "image/png"},
			{"IMAGE/X-Citrix-JPEG", jpeg, "image/jpeg"}, {"image/jpg", png, "image/png"}, {"image/webp", webp, "image/webp"},
			{"application/octet-stream; name=a.PNG", png, "image/png"}, {"application/octet-stream; name=\"写真.jpeg\"", gif, "image/gif"},
			{"application/octet-stream\r\nContent-Disposition: inline; filename=a.jfif", jpeg, "image/jpeg"},
			{"application/octet-stream; name=a.png", html, ""}, {"application/octet-stream; name=a.exe", png, ""}, {"application/octet-stream", png, ""},
			{"image/jpg", svg, ""}, {"image/svg+xml", svg, ""}, {"image/x-png", html, ""}, {"text/html; name=a.png", png, ""}, {"image/png", "", ""},
		} {
			raw := "From: a@sender.test\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x<img src=\"cid:one@x\" alt=gone>\r\n" +
				"--b\r\nContent-Type: " + c.header + "\r\nContent-ID: <one@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
				base64.StdEncoding.EncodeToString([]byte(c.data)) + "\r\n--b--\r\n"
			a := b.get(t, "/message/"+string(r.deliver(t, store.Inbox, raw))+"/body")
			require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
			want := `<p>x<img src="data:` + c.want + ";base64," + base64.StdEncoding.EncodeToString([]byte(c.data)) + `"`
			if c.want == "" {
				want = `<p>x<img title="gone" class="mairust-blocked"`
			}
			require.Contains(t, a.body, want, "%s %q", c.header, c.data)
		}
	})
}

func TestAPageSaysThatABodyIsCut(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		deliver := func(html string) string {
			return "/message/" + string(r.deliver(t, store.Inbox, "From: a@sender.test\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"+html))
		}
		line := "<p>" + strings.Repeat("x", 1000) + "</p>\r\n"
		en, ja := "To read all of it, download the original.", "元のメールをダウンロードしてください"
		for name, html := range map[string]string{"long": strings.Repeat(line, 4300), "deep": strings.Repeat("<div>", 300) + "x"} {
			path := deliver(html)
			page := b.page(t, path)
			require.Contains(t, page, en, name)
			require.Contains(t, page, `<a class="button" href="`+path+`/raw" download>`, name)
			require.Contains(t, page, "<iframe", name)
			require.Contains(t, b.page(t, path, "Accept-Language", "ja"), ja, name)
		}
		require.NotContains(t, b.page(t, deliver(strings.Repeat(line, 1000))), en)
		long := deliver(strings.Repeat(line, 4300))
		require.Contains(t, b.page(t, long+"?view=text"), "only the beginning is shown")
	})
}

func TestMessageShowsEachOfItsViews(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		id := r.deliver(t, store.Inbox, letter{
			from: "=?UTF-8?B?5paH5YW35bqX?= <news@shop.example.org>", subject: "<b>News</b>", text: "plain <i>words</i>", html: newsletter,
			files: []string{"請求書.pdf", "page.html"}, above: ownResults, tags: nil,
		}.data())
		path := "/message/" + string(id)
		page := b.page(t, path)
		require.Contains(t, page, "&lt;b&gt;News&lt;/b&gt;")
		require.Contains(t, page, `<iframe class="paper" title="Message body" src="`+path+`/body" sandbox="allow-popups allow-popups-to-escape-sandbox" referrerpolicy="no-referrer">`)
		require.Contains(t, page, "2 images from other servers are blocked")
		require.Contains(t, words(page), "dkim pass")
		require.Contains(t, page, "請求書.pdf")
		require.Contains(t, b.page(t, path+"?view=text"), "plain &lt;i&gt;words&lt;/i&gt;")
		require.Contains(t, b.page(t, path+"?view=headers"), "Message-ID: &lt;20260401.1@example.org&gt;")
		require.NotContains(t, b.page(t, path+"?view=headers"), "--mixed")
		require.Contains(t, b.page(t, path+"?view=source"), "--mixed")
		require.Contains(t, b.page(t, path+"?remote=1"), "are shown this time")
		require.Contains(t, b.page(t, path+"?view=nonsense"), "<iframe")

		body := b.get(t, path+"/body")
		require.Equal(t, "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "+
			"form-action 'none'; base-uri 'none'; frame-ancestors 'self'", body.Header.Get("Content-Security-Policy"))
		require.Equal(t, "nosniff", body.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-referrer", body.Header.Get("Referrer-Policy"))
		require.Contains(t, body.body, "春の新商品のご案内")
		require.NotContains(t, body.body, "images.example.org")
		require.Contains(t, b.get(t, path+"/body?remote=1").body, "images.example.org")

		raw := b.get(t, path+"/raw")
		require.Equal(t, `attachment; filename="_b_News__b_.eml"`, raw.Header.Get("Content-Disposition"))
		require.Equal(t, "message/rfc822", raw.Header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(raw.body, "Return-Path: <sender@example.org>\r\n"))

		links := regexp.MustCompile(`/message/[^"]*/part/[^"]*`).FindAllString(page, -1)
		require.Len(t, links, 2)
		pdf := b.get(t, links[0])
		require.Equal(t, "application/pdf", pdf.Header.Get("Content-Type"))
		require.Contains(t, pdf.Header.Get("Content-Disposition"), "filename*=UTF-8''%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf")
		require.Equal(t, strings.Repeat("%PDF-1.7 ", 9000), pdf.body)
		html := b.get(t, links[1])
		require.Equal(t, "application/octet-stream", html.Header.Get("Content-Type"))
		require.Equal(t, "sandbox; default-src 'none'", html.Header.Get("Content-Security-Policy"))
		require.Equal(t, http.StatusNotFound, b.get(t, path+"/part/9").StatusCode)

		fragment := b.page(t, path, "HX-Request", "true", "HX-Target", "section#reading")
		require.NotContains(t, fragment, "<html")
		require.Contains(t, fragment, `<article class="message"`)
	})
}

func TestReadingChangesNothingByItself(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		id := r.deliver(t, store.Inbox, plainMail)
		b.page(t, "/message/"+string(id))
		m, err := r.store.Message(t.Context(), store.System, id)
		require.NoError(t, err)
		require.Empty(t, m.Flags)
		a := b.do(t, http.MethodPost, act, url.Values{"act": {"read"}, "id": {string(id)}}.Encode(), "HX-Request", "true")
		require.Equal(t, http.StatusNoContent, a.StatusCode)
		m, err = r.store.Message(t.Context(), store.System, id)
		require.NoError(t, err)
		require.Equal(t, []string{`\Seen`}, m.Flags)
	})
}

func TestBodyThatCannotBeRetrievedLeavesTheRest(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		id := r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "still here", html: "<p>gone</p>"}.data())
		r.objects.away.Store(true)
		for language, want := range map[string]string{"en": "The message body cannot be retrieved right now", "ja": "本文を取得できません"} {
			page := b.page(t, "/message/"+string(id), "Accept-Language", language)
			require.Contains(t, page, want)
			require.Contains(t, page, "still here")
			require.NotContains(t, page, "<iframe")
			for _, path := range []string{"/body", "/raw", "/part/1.1"} {
				a := b.get(t, "/message/"+string(id)+path, "Accept-Language", language)
				require.Equal(t, http.StatusServiceUnavailable, a.StatusCode, path)
				require.Contains(t, a.body, want)
				require.NotEmpty(t, a.Header.Get("Retry-After"))
				require.Empty(t, a.Header.Get("Content-Disposition"))
			}
		}
		require.Contains(t, r.log.String(), `"kind":"unavailable"`)
	})
}

func TestNothingOfADamagedMessageIsShown(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		id := r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "still here", html: "<p>the body</p>"}.data())
		key := store.ObjectKey(r.site.Tenant.ID, r.site.Mailboxes["hanako"].ID, id)
		require.Equal(t, http.StatusOK, b.get(t, "/message/"+string(id)+"/body").StatusCode)
		rc, info, err := r.objects.Get(t.Context(), key, 0, -1)
		require.NoError(t, err)
		raw, err := io.ReadAll(rc)
		require.NoError(t, err)
		require.Len(t, raw, int(info.SizeBytes))
		for name, bad := range map[string]string{
			"altered": "Return-Path: <sEnder@example.org>" + string(raw[33:]), "shortened": string(raw[:len(raw)-1]), "longer": string(raw) + "x",
		} {
			require.NoError(t, r.objects.Replace(t.Context(), key, strings.NewReader(bad), int64(len(bad))))
			for language, want := range map[string]string{"en": "The message body cannot be retrieved right now", "ja": "本文を取得できません"} {
				page := b.page(t, "/message/"+string(id), "Accept-Language", language)
				require.Contains(t, page, want, name)
				require.ErrorIs(t, r.suspects.Take()[id], blob.ErrDamaged)
				require.Contains(t, page, "still here")
				for _, path := range []string{"/body", "/raw", "/part/1.1"} {
					a := b.get(t, "/message/"+string(id)+path, "Accept-Language", language)
					require.Equal(t, http.StatusServiceUnavailable, a.StatusCode, "%s %s", name, path)
					require.Contains(t, a.body, want)
					require.NotContains(t, a.body, "the body</p>")
					require.ErrorIs(t, r.suspects.Take()[id], blob.ErrDamaged, path)
				}
			}
		}
		require.Contains(t, r.log.String(), `"kind":"corrupt"`)
	})
}

func TestOnlyResultsOfOurOwnServerCount(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		forged := "Authentication-Results: mx.example.test; dkim=pass header.d=bank.test\r\n"
		id := r.deliver(t, store.Inbox, received+forged+plainMail)
		page := b.page(t, "/message/"+string(id))
		require.NotContains(t, page, "check-good")
		require.Contains(t, page, "has recorded no results")
		id = r.deliver(t, store.Inbox, "Authentication-Results: mx.example.test; dkim=fail header.d=bank.test; spf=none\r\n"+received+forged+plainMail)
		page = b.page(t, "/message/"+string(id))
		require.NotContains(t, page, "check-good")
		require.Contains(t, page, "check-bad")
		require.Contains(t, page, "check-open")
	})
}

func TestSendersThatLookLikeOthersAreMarked(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		for from, want := range map[string]string{
			`"PayPal <service@paypal.com>" <x@evil.test>`: "The name shows another address",
			"x@xn--pypal-4ve.com":                         "Letters of several alphabets",
			"=?UTF-8?B?0KBheXBhbA==?= <x@evil.test>":      "Letters of several alphabets", // the P is Cyrillic
			"security@xn--r8jz45g.jp":                     "reads: 例え.jp",
			"=?UTF-8?B?5bGx55Sw44Ki44Kk?= <a@example.jp>": "",
		} {
			id := r.deliver(t, store.Inbox, "From: "+from+"\r\nSubject: x\r\n\r\nx\r\n")
			page := b.page(t, "/message/"+string(id), "HX-Request", "true", "HX-Target", "section#reading")
			if want == "" {
				require.NotContains(t, page, `class="mark warn"`, from)
				continue
			}
			require.Contains(t, page, want, from)
		}
	})
}
