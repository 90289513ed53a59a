package ui_test

import (
	"os"
	"testing"
)

// TestScreenshotsOfOutbound takes pictures for people to look at, if MAIRUST_SCREENSHOTS names a folder.
func TestScreenshotsOfOutbound(t *testing.T) {
	if os.Getenv("MAIRUST_SCREENSHOTS") == "" {
		t.Skip("MAIRUST_SCREENSHOTS names no folder")
	}
	r, b, spots := onBadDay(t)
	for _, s := range spots {
		b.cookie(t, "mairust", r.session(t, s.who))
		for _, look := range [][2]string{{"ja", "light"}, {"en", "light"}, {"ja", "dark"}, {"en", "dark"}} {
			b.look(t, look[0], look[1])
			b.size(t, 1440, s.height)
			b.open(t, s.path)
			b.shoot(t, "out-"+s.name+"-"+look[0]+"-"+look[1])
		}
		b.look(t, "ja", "light")
		b.size(t, 390, s.height)
		b.open(t, s.path)
		b.shoot(t, "out-"+s.name+"-phone")
	}
	b.clean(t)
}
