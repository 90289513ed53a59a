package lmtp_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
)

// scanner makes scan headers as the milter does.
type scanner struct{ ring *keyring.Ring }

func newScanner(t *testing.T) scanner {
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	return scanner{ring}
}

func (s scanner) verify(_ *lmtp.Options, d *lmtp.Deps) {
	d.Verify = func(mac string, fields ...string) error { return s.ring.Verify(keyring.Scan, mac, fields...) }
}

// field is a scan header for a message with this body.
func (s scanner) field(scan mail.Scan, body string) string {
	h := mail.NewBodyHash()
	_, _ = h.Write([]byte(body))
	scan.Body = h.Sum()
	return mail.ScanField + ": " + scan.Value(func(fields ...string) string { return s.ring.MAC(keyring.Scan, fields...) }) + "\r\n"
}

// scanOf is a verdict on the message "received", as it stands at the epoch.
func scanOf(action mail.Action) mail.Scan {
	return mail.Scan{
		Time: epoch, Host: "mx.example.test", QueueID: "4XyZ12abc", Action: action, Tags: []string{"spam", "bulk"}, Score: 7.25,
		SenderDigest: mail.DigestSender(mail.Address{Local: "a", Domain: "sender.test"}),
	}
}

func TestScanHeaderDecidesFolderAndTags(t *testing.T) {
	s := newScanner(t)
	good := scanOf(mail.Tag)
	change := func(f func(*mail.Scan)) mail.Scan {
		c := good
		f(&c)
		return c
	}
	const body = "body\r\n"
	head, _, _ := strings.Cut(received, "From: A")
	rest := strings.TrimPrefix(received, head)
	unscanned := []string{"unscanned"}
	for name, tt := range map[string]struct {
		message string
		folder  string
		tags    []string
		reason  string
	}{
		"tag":                         {head + s.field(good, body) + rest, "INBOX", good.Tags, ""},
		"on top of Received":          {s.field(good, body) + received, "INBOX", good.Tags, ""},
		"quarantine":                  {head + s.field(scanOf(mail.Quarantine), body) + rest, "Quarantine", good.Tags, ""},
		"reject, for whatever reason": {head + s.field(scanOf(mail.Reject), body) + rest, "Quarantine", good.Tags, ""},
		"allow":                       {head + s.field(change(func(c *mail.Scan) { c.Action, c.Tags = mail.Allow, nil }), body) + rest, "INBOX", nil, ""},
		"almost seven days old":       {head + s.field(change(func(c *mail.Scan) { c.Time = epoch.Add(-7 * 24 * time.Hour) }), body) + rest, "INBOX", good.Tags, ""},
		"from a clock ahead of ours":  {head + s.field(change(func(c *mail.Scan) { c.Time = epoch.Add(5 * time.Minute) }), body) + rest, "INBOX", good.Tags, ""},
		"name in other letters":       {head + "x-mairust-SCAN" + strings.TrimPrefix(s.field(good, body), mail.ScanField) + rest, "INBOX", good.Tags, ""},

		"missing":                   {received, "INBOX", unscanned, "missing"},
		"in the body":               {received + s.field(good, body), "INBOX", unscanned, "missing"},
		"too old":                   {head + s.field(change(func(c *mail.Scan) { c.Time = epoch.Add(-7*24*time.Hour - time.Second) }), body) + rest, "INBOX", unscanned, "old"},
		"from the future":           {head + s.field(change(func(c *mail.Scan) { c.Time = epoch.Add(5*time.Minute + time.Second) }), body) + rest, "INBOX", unscanned, "future"},
		"of another message":        {head + s.field(change(func(c *mail.Scan) { c.QueueID = "4XyZ12abd" }), body) + rest, "INBOX", unscanned, "queue_id"},
		"without queue ids":         {s.field(change(func(c *mail.Scan) { c.QueueID = "" }), body) + rest, "INBOX", unscanned, "queue_id"},
		"of another sender":         {head + s.field(change(func(c *mail.Scan) { c.SenderDigest = mail.DigestSender(mail.Address{}) }), body) + rest, "INBOX", good.Tags, ""},
		"of another body":           {head + s.field(good, "other\r\n") + rest, "INBOX", unscanned, "invalid"},
		"of another installation":   {head + newScanner(t).field(good, body) + rest, "INBOX", unscanned, "invalid"},
		"nonsense":                  {head + mail.ScanField + ": yes\r\n" + rest, "INBOX", unscanned, "invalid"},
		"empty":                     {head + mail.ScanField + ":\r\n" + rest, "INBOX", unscanned, "invalid"},
		"a forged one before it":    {head + mail.ScanField + ": v=1\r\n" + s.field(good, body) + rest, "INBOX", unscanned, "invalid"},
		"too long":                  {head + mail.ScanField + ": " + strings.Repeat("x", 100_000) + "\r\n" + rest, "INBOX", unscanned, "invalid"},
		"folded without end":        {head + mail.ScanField + ":" + strings.Repeat("\r\n x", 50_000) + "\r\n" + rest, "INBOX", unscanned, "invalid"},
		"behind a megabyte":         {head + "X: " + strings.Repeat("x", 1<<20) + "\r\n" + s.field(good, body) + rest, "INBOX", unscanned, "missing"},
		"last line, nothing behind": {"X: y\r\n" + mail.ScanField + ": v=1\r\n", "INBOX", unscanned, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, s.verify)
			requireStored(t, r.hello().deliver("a@sender.test", tt.message, "bob@example.test")...)
			c := r.index.stored()[0]
			require.Equal(t, tt.folder, c.Folder)
			require.Equal(t, tt.tags, c.Tags)
			if tt.reason == "" {
				require.NotZero(t, c.Content.Scan.Score)
				return
			}
			require.Zero(t, c.Content.Scan)
			require.InDelta(t, 1, r.metric("mairust_lmtp_unscanned_total", "reason="+tt.reason), 0)
		})
	}
}
