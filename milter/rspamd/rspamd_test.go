package rspamd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter/rspamd"
)

// gtube is what every rspamd rejects (https://rspamd.com/doc/other/gtube_patterns.html).
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// overrides make an rspamd whose verdict is what the field X-Test says.
var overrides = map[string]string{
	"multimap.conf": `
SITE_SOFT { type = "header"; header = "X-Test"; regexp = true; map = ["/^soft$/"]; }
SITE_GREY { type = "header"; header = "X-Test"; regexp = true; map = ["/^grey$/"]; score = 4.5; }
SITE_TAG { type = "header"; header = "X-Test"; regexp = true; map = ["/^tag$/"]; score = 7.0; }
SITE_SUBJECT { type = "header"; header = "X-Test"; regexp = true; map = ["/^subject$/"]; }
`,
	"force_actions.conf": `
rules {
  A { action = "soft reject"; expression = "SITE_SOFT"; message = "Come back 100% later"; }
  B { action = "rewrite subject"; expression = "SITE_SUBJECT"; subject = "[spam] %s"; }
}
`,
	"milter_headers.conf": `
use = ["authentication-results", "remove-headers", "x-rspamd-queue-id"];
routines { remove-headers { headers { "X-Remove" = 0; } } }
`,
	"hfilter.conf": "enabled = false;\n", // its score depends on the resolver
}

// msg is a message from a stranger.
func msg(raw string) *mail.Message {
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	return &mail.Message{
		Envelope: mail.Envelope{
			From:    mail.Address{Local: "alice", Domain: "sender.test"},
			Rcpt:    []mail.Recipient{{Address: mail.Address{Local: "bob", Domain: "example.test"}}, {Address: mail.Address{Local: "x..y", Domain: "example.test"}}},
			QueueID: "4ABC123",
			Host:    "mx.example.test",
			Client:  mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Name: "mail.sender.test", Helo: "mail.sender.test"},
		},
		SizeBytes: int64(len(raw)),
		Open:      func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(raw))), nil },
	}
}

// letter is a message that says in X-Test what shall become of it.
func letter(test string) *mail.Message {
	return msg("From: Alice <alice@sender.test>\nTo: bob@example.test\nSubject: hello\nDate: " + time.Now().Format(time.RFC1123Z) +
		"\nMessage-ID: <1@sender.test>\nX-Test: " + test + "\nMIME-Version: 1.0\nContent-Type: text/plain\n\nHello, world, this is a letter.\n")
}

func newClient(t *testing.T, o rspamd.Options) *rspamd.Client {
	t.Helper()
	c, err := rspamd.New(o, nil)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func ask(t *testing.T, c *rspamd.Client, m *mail.Message) mail.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := c.Check(ctx, m)
	require.NoError(t, err)
	return v
}

func TestRealRspamdsActionsBecomeVerdicts(t *testing.T) {
	r := labtest.OwnRspamd(t, lab.RspamdOptions{Override: overrides})
	c := newClient(t, rspamd.Options{URL: r.URL(), TimeoutMS: 60_000})

	v := ask(t, c, letter("none"))
	require.Equal(t, mail.Allow, v.Action)
	require.Empty(t, v.Tags)
	require.Contains(t, v.Edits, mail.Edit{Op: mail.RemoveField, Name: "X-Remove"})
	require.Contains(t, v.Edits, mail.Edit{Op: mail.AppendField, Name: "X-Rspamd-Queue-Id", Value: "4ABC123"})
	var results *mail.Edit
	for _, e := range v.Edits {
		if e.Name == "Authentication-Results" && e.Op == mail.InsertField {
			results = &e
		}
	}
	require.NotNil(t, results)
	require.Contains(t, results.Value, "mx.example.test;")
	require.Contains(t, results.Value, "alice@sender.test has no SPF policy when checking 192.0.2.1")
	var metadata struct {
		Action   string
		Score    float64
		Required float64 `json:"required_score"`
		Symbols  []struct{ Name string }
	}
	require.NoError(t, json.Unmarshal(v.Metadata["rspamd"], &metadata))
	require.Equal(t, "no action", metadata.Action)
	require.InDelta(t, 15, metadata.Required, 0)
	require.NotEmpty(t, metadata.Symbols)
	require.Contains(t, r.Log(), "rcpts: <bob@example.test,x..y@example.test>")
	require.Contains(t, r.Log(), "qid: <4ABC123>, ip: 192.0.2.1, from: <alice@sender.test>")

	v = ask(t, c, letter("soft"))
	require.Equal(t, mail.Tempfail, v.Action)
	require.Equal(t, "451 4.7.1 Come back 100% later", v.Reply.String())

	v = ask(t, c, letter("grey")) // the greylisting module is off, and yet:
	require.Equal(t, mail.Tempfail, v.Action)
	require.InDelta(t, 5, v.Score, 0.99)
	require.Equal(t, mail.Allow, ask(t, newClient(t, rspamd.Options{URL: r.URL(), Greylist: "allow"}), letter("grey")).Action)

	v = ask(t, c, letter("tag"))
	require.Equal(t, mail.Tag, v.Action)
	require.Equal(t, []string{"spam"}, v.Tags)
	require.Greater(t, v.Score, 6.0)
	require.Equal(t, mail.Quarantine, ask(t, newClient(t, rspamd.Options{URL: r.URL(), AddHeader: "quarantine"}), letter("tag")).Action)

	v = ask(t, c, letter("subject"))
	require.Equal(t, mail.Tag, v.Action)
	require.Contains(t, v.Edits, mail.Edit{Op: mail.ReplaceField, Name: "Subject", Value: "[spam] hello", Index: 1})

	v = ask(t, c, msg("Subject: x\n\n"+gtube+"\n"))
	require.Equal(t, mail.Reject, v.Action)
	require.Equal(t, "550 5.7.1 Gtube pattern", v.Reply.String())
	require.Equal(t, []string{"spam"}, v.Tags)

	m := letter("none")
	m.From = mail.Address{}
	m.Client = mail.Client{Login: "alice@sender.test"}
	require.Equal(t, mail.Allow, ask(t, c, m).Action)
	require.Contains(t, r.Log(), "user: alice@sender.test")

	large := newClient(t, rspamd.Options{URL: r.URL(), MaxBytes: 100})
	v = ask(t, large, letter("tag"))
	require.Equal(t, mail.Tag, v.Action)
	require.Equal(t, []string{"unscanned"}, v.Tags)

	r.Stop()
	_, err := c.Check(context.Background(), letter("none"))
	require.ErrorContains(t, err, "ask rspamd: ")
	require.NoError(t, r.Start(context.Background()))
	require.Equal(t, mail.Allow, ask(t, c, letter("none")).Action)
}
