package safe_test

import (
	"testing"

	"github.com/mairust/mairust/ui/safe"
)

// FuzzHTML holds any input against the lists of the oracle, and a second pass against the first.
func FuzzHTML(f *testing.F) {
	for _, p := range payloads(f) {
		f.Add(p, false)
	}
	for _, n := range newsletters {
		f.Add(string(n.html(f)), true)
	}
	f.Fuzz(func(t *testing.T, in string, remote bool) {
		if len(in) > 64<<10 {
			return
		}
		scrub(t, in, safe.Options{Remote: remote, Inline: noParts})
	})
}

func noParts(string) (string, []byte, bool) { return "", nil, false }
