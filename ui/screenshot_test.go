package ui_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/mairust/mairust/internal/auth"
)

// TestScreenshots takes pictures for people to look at, if MAIRUST_SCREENSHOTS names a folder.
func TestScreenshots(t *testing.T) {
	if os.Getenv("MAIRUST_SCREENSHOTS") == "" {
		t.Skip("MAIRUST_SCREENSHOTS names no folder")
	}
	r, b := onChromium(t)
	ids := r.fill(t)
	help := r.person(t, "help@example.test", auth.Helpdesk)
	letter := "/message/" + string(ids["来週の打ち合わせの件"])
	news := "/message/" + string(ids["春の新商品のご案内と会員様限定セールのお知らせ"])
	phish := "/message/" + string(ids["Your account has been limited"])
	contract := "/message/" + string(ids["Re: Contract draft, second round"])
	shots := []struct {
		name, path, language, theme string
		width, height               int64
	}{
		{"login-en", "/login", "en", "light", 1440, 900},
		{"link-en", "/login/link?token=x", "en", "light", 1440, 900},
		{"link-ja", "/login/link?token=x", "ja", "light", 1440, 900},
		{"link-ja-dark", "/login/link?token=x", "ja", "dark", 1440, 900},
		{"link-phone", "/login/link?token=x", "ja", "light", 390, 800},
		{"list-ja", "/mail/hanako@example.test", "ja", "light", 1440, 900},
		{"message-ja", letter, "ja", "light", 1440, 900},
		{"message-ja-dark", letter, "ja", "dark", 1440, 900},
		{"news-en", news, "en", "light", 1440, 900},
		{"news-en-dark", news, "en", "dark", 1440, 900},
		{"contract-en", contract, "en", "light", 1440, 900},
		{"phish-en", phish, "en", "light", 1440, 900},
		{"headers-en", contract + "?view=headers", "en", "light", 1440, 900},
		{"list-1000", "/mail/hanako@example.test", "ja", "light", 1000, 760},
		{"message-1000", letter, "ja", "light", 1000, 760},
		{"list-phone", "/mail/hanako@example.test", "ja", "light", 390, 800},
		{"message-phone", news, "ja", "light", 390, 800},
		{"message-phone-dark", contract, "en", "dark", 390, 800},
		{"settings-en", "/settings", "en", "light", 1440, 900},
		{"settings-ja-dark", "/settings", "ja", "dark", 1440, 900},
		{"settings-phone", "/settings", "ja", "light", 390, 800},
		{"access-ja", "/access", "ja", "light", 1440, 900},
		{"help-ja", "/help", "ja", "light", 1440, 900},
		{"missing-ja", "/nothing", "ja", "light", 1440, 900},
		{"trash-en", "/mail/hanako@example.test?folder=Trash", "en", "light", 1440, 900},
	}
	for _, s := range shots {
		b.signIn(t, r, r.site.Users["hanako"].ID)
		if s.path == "/login" {
			b.cookie(t, "mairust", "nobody")
		}
		b.look(t, s.language, s.theme)
		b.size(t, s.width, s.height)
		b.open(t, s.path)
		b.shoot(t, s.name)
	}
	b.signIn(t, r, help)
	for i, path := range []string{"/mailboxes", "/mail/hanako@example.test"} {
		b.look(t, "ja", "light")
		b.size(t, 1440, 900)
		b.open(t, path)
		b.shoot(t, fmt.Sprintf("helpdesk-%d", i))
	}
	r.watch.fail("disk", "/var/lib/mairust: 3 % free, 1.2 GB, 88 % of inodes")
	r.watch.fail("storage", "check object store: 3a7f: read-only file system")
	b.signIn(t, r, r.superAdmin(t))
	for _, s := range []struct{ name, path, language, theme string }{
		{"system-ja", "/system", "ja", "light"}, {"system-en-dark", "/system", "en", "dark"},
	} {
		b.look(t, s.language, s.theme)
		b.open(t, s.path)
		b.shoot(t, s.name)
	}
	b.signIn(t, r, r.person(t, "admin@example.test", auth.TenantAdmin))
	b.look(t, "ja", "light")
	b.open(t, "/mail/hanako@example.test")
	b.shoot(t, "banner-reason-ja")
	b.open(t, "/mailboxes")
	b.shoot(t, "banner-ja")
	b.size(t, 390, 800)
	b.open(t, "/system")
	b.shoot(t, "system-phone")
	b.size(t, 1440, 900)
	r.objects.away.Store(true)
	b.signIn(t, r, r.site.Users["hanako"].ID)
	b.open(t, letter)
	b.shoot(t, "failed-body-ja")
	b.clean(t)
}
