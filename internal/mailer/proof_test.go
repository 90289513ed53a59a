package mailer

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/keyring"
)

// ring is a keyring of its own, with the two functions of it that proofs need.
func ring(t testing.TB) (mac func(...string) string, verify func(string, ...string) error) {
	t.Helper()
	r, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	mac = func(fields ...string) string { return r.MAC(keyring.Letter, fields...) }
	return mac, func(given string, fields ...string) error { return r.Verify(keyring.Letter, given, fields...) }
}

// received is the letter as a milter gets it.
func received(change func(*Received)) Received {
	r := Received{
		From: "mairust@Example.test", To: []string{"ops@admins.test", "Night@admins.test"}, Subject: " =?utf-8?b?5YGc5q2i?=\r\n =?utf-8?b?44GX44G+44GX44Gf?=",
		MessageID: " <notice-1@mx>", Body: strings.NewReader("Sending was stopped.\r\n"),
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestAProofIsOfOneLetterAndForAWhile(t *testing.T) {
	mac, verify := ring(t)
	now := time.Unix(1_795_000_000, 0)
	sent := received(func(r *Received) {
		r.To, r.From = []string{"night@admins.test", "ops@admins.test"}, "mairust@example.test"
		r.Subject, r.Body = "=?utf-8?b?5YGc5q2i?=\r\n =?utf-8?b?44GX44G+44GX44Gf?=", strings.NewReader("Sending was stopped.\r\n\r\n")
	})
	text := prove(sent, now, mac)
	require.Regexp(t, `^m1\.[0-9a-z]{6}\.[A-Za-z0-9_-]{22}\.v1\.`, text)
	require.LessOrEqual(t, len(text), maxEnvID)
	require.NotContains(t, text, "+", "it is xtext as it is")
	require.NotContains(t, text, "=")

	proof, err := ReadProof(text, now.Add(9*time.Minute), verify)
	require.NoError(t, err)
	require.NoError(t, proof.Holds(received(nil)), "case, order and folding make no difference")
	for name, change := range map[string]func(*Received){
		"another recipient":        func(r *Received) { r.To[0] = "victim@elsewhere.test" },
		"one recipient more":       func(r *Received) { r.To = append(r.To, "victim@elsewhere.test") },
		"one recipient less":       func(r *Received) { r.To = r.To[1:] },
		"another sender":           func(r *Received) { r.From = "ceo@example.test" },
		"another subject":          func(r *Received) { r.Subject = " Your invoice" },
		"another id":               func(r *Received) { r.MessageID = " <notice-2@mx>" },
		"another text":             func(r *Received) { r.Body = strings.NewReader("Click here.\r\n") },
		"more text":                func(r *Received) { r.Body = strings.NewReader("Sending was stopped.\r\nClick here.\r\n") },
		"a subject moved to an id": func(r *Received) { r.Subject, r.MessageID = r.MessageID, r.Subject },
		"a text without end":       func(r *Received) { r.Body = bytes.NewReader(make([]byte, MaxProvenBytes+1)) },
	} {
		require.ErrorIs(t, proof.Holds(received(change)), ErrNoProof, name)
	}

	_, others := ring(t)
	for name, bad := range map[string]func() error{
		"late":                 func() error { _, err := ReadProof(text, now.Add(proofLasts), verify); return err },
		"early":                func() error { _, err := ReadProof(text, now.Add(-proofLasts-time.Second), verify); return err },
		"another installation": func() error { _, err := ReadProof(text, now, others); return err },
		"another time":         func() error { _, err := ReadProof(strings.Replace(text, ".", ".z", 1), now, verify); return err },
		"none":                 func() error { _, err := ReadProof("", now, verify); return err },
		"somebody's ENVID":     func() error { _, err := ReadProof("QQ314159", now, verify); return err },
		"parts missing":        func() error { _, err := ReadProof("m1.abc.def", now, verify); return err },
		"too long":             func() error { _, err := ReadProof(text+strings.Repeat("x", 100), now, verify); return err },
	} {
		require.ErrorIs(t, bad(), ErrNoProof, name)
	}
	require.Empty(t, prove(received(func(r *Received) { r.Body = bytes.NewReader(make([]byte, MaxProvenBytes+1)) }), now, mac), "too long to prove")
}

func FuzzProof(f *testing.F) {
	mac, verify := ring(f)
	now := time.Unix(1_795_000_000, 0)
	whole := prove(received(nil), now, mac)
	f.Add(whole)
	f.Add("m1...")
	f.Fuzz(func(t *testing.T, text string) {
		proof, err := ReadProof(text, now, verify)
		if err != nil {
			require.ErrorIs(t, err, ErrNoProof)
			return
		}
		require.Equal(t, whole, text, "nobody makes another one")
		require.NoError(t, proof.Holds(received(nil)))
	})
}
