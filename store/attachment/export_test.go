package attachment

import "testing"

// MakeWanted makes the copies that are waiting, as Run does.
func MakeWanted(t *testing.T, o *Opener) {
	t.Helper()
	for len(o.wanted) > 0 {
		w := <-o.wanted
		if err := o.Copy(t.Context(), w.message, w.part); err != nil {
			t.Error(err)
		}
	}
}
