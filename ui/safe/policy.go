package safe

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/microcosm-cc/bluemonday"
)

// secondLock is what the body must pass after it was rewritten. It changes nothing unless the rewriting has a fault.
var secondLock = newPolicy()

// Forms of what the rewriting writes.
var (
	lockWords = regexp.MustCompile(`^` + prefix + `[A-Za-z0-9_-]+(?: ` + prefix + `[A-Za-z0-9_-]+)*$`)
	lockStyle = regexp.MustCompile(`^[a-z-]+:[\p{L}\p{N} #%.,'()/_&+-]+(?:;[a-z-]+:[\p{L}\p{N} #%.,'()/_&+-]+)*$`)
	lockHref  = regexp.MustCompile(`^(?:https?://|mailto:|tel:|#` + prefix + `)`)
	lockSrc   = regexp.MustCompile(`^(?:https?://|data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*$)`)
)

func newPolicy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowURLSchemes("http", "https", "mailto", "tel")
	p.AllowURLSchemeWithCustomPolicy("data", func(u *url.URL) bool { return strings.HasPrefix(u.Opaque, "image/") })
	p.AllowRelativeURLs(true) // lockHref lets only fragments through
	p.AllowElements("body")
	p.AllowNoAttrs().OnElements("body")
	for name := range elements {
		p.AllowElements(name)
		p.AllowNoAttrs().OnElements(name)
	}
	p.AllowAttrs("class", "id").Matching(lockWords).Globally()
	p.AllowAttrs("name").Matching(lockWords).OnElements("a")
	p.AllowAttrs("style").Matching(lockStyle).Globally()
	p.AllowAttrs("dir", "lang", "role", "title").Globally()
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^` + hostClass + `$`)).OnElements("span")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^` + blockedClass + `$`)).OnElements("img")
	p.AllowAttrs("href").Matching(lockHref).OnElements("a")
	p.AllowAttrs("rel").Matching(regexp.MustCompile(`^noopener noreferrer nofollow$`)).OnElements("a")
	p.AllowAttrs("target").Matching(regexp.MustCompile(`^_blank$`)).OnElements("a")
	p.AllowAttrs("src").Matching(lockSrc).OnElements("img")
	for name, attrs := range own {
		for key := range attrs {
			if key != "name" {
				p.AllowAttrs(key).OnElements(name)
			}
		}
	}
	return p
}
