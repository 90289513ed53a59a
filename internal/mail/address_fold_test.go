package mail_test

import (
	"testing"
	"unicode/utf8"

	"github.com/mairust/mairust/internal/mail"
)

// Postfix asks a table for the folded address; what is stored must be folded alike, and once and for all.
func TestFoldIsFullAndFoldingTwiceChangesNothing(t *testing.T) {
	for local, want := range map[string]string{
		"Bob": "bob", "Straße": "strasse", "STRASSE": "strasse", "νίκος": "νίκοσ", "İ": "i̇", "Ünal": "ünal", "用户": "用户", "Ｂｏｂ": "ｂｏｂ", "ÄÖ": "äö",
	} {
		if got := (mail.Address{Local: local, Domain: "x.test"}).Fold().Local; got != want {
			t.Errorf("%s folds to %q, want %q", local, got, want)
		}
	}
	for r := rune(1); r < 0x30000; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		once := mail.Address{Local: "a" + string(r) + "\u0301b"}.Fold()
		if twice := once.Fold(); twice != once {
			t.Fatalf("%U: %q folds again to %q", r, once.Local, twice.Local)
		}
	}
}
