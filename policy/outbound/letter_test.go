package outbound_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/policy/outbound"
)

// taken is a letter as a mail server got it.
type taken struct {
	envID, from string
	to          []string
	raw         string
}

// takeOne is a mail server for one message, which it gives. It refuses the addresses of refused.
func takeOne(t testing.TB, l net.Listener, refused map[string]string) taken {
	t.Helper()
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	var got taken
	lines := bufio.NewReader(conn)
	say := func(text string) { fmt.Fprint(conn, text+"\r\n") }
	say("220 mx.test ESMTP")
	for {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		line = strings.TrimRight(line, "\r\n")
		switch verb, rest, _ := strings.Cut(line, ":"); verb {
		case "MAIL FROM":
			address, parameters, _ := strings.Cut(rest, " ")
			got.from = strings.Trim(address, "<>")
			got.envID = strings.TrimPrefix(parameters, "ENVID=")
			say("250 2.1.0 Ok")
		case "RCPT TO":
			to := strings.Trim(rest, "<>")
			if reply := refused[to]; reply != "" {
				say(reply)
				continue
			}
			got.to = append(got.to, to)
			say("250 2.1.5 Ok")
		case "RSET":
			got = taken{}
			say("250 2.0.0 Ok")
		case "DATA":
			say("354 go on")
			for line := ""; line != ".\r\n"; {
				got.raw += strings.TrimPrefix(line, ".")
				line, err = lines.ReadString('\n')
				require.NoError(t, err)
			}
			say("250 2.0.0 Ok")
			return got
		default:
			say("250-mx.test\r\n250 DSN")
		}
	}
}

// post is what Mailer sends.
func post(t testing.TB, ring *keyring.Ring, text string) taken {
	t.Helper()
	return postSome(t, ring, text, nil)
}

// postSome is what Mailer sends through a server that refuses some of the recipients.
func postSome(t testing.TB, ring *keyring.Ring, text string, refused map[string]string) taken {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	m, err := mailer.New(mailer.Options{Address: l.Addr().String(), From: "mairust@one.test", To: []string{"ops@admins.test", "night@admins.test"}}, "mx.test")
	require.NoError(t, err)
	m.Prove(func(fields ...string) string { return ring.MAC(keyring.Letter, fields...) })
	sent := make(chan error, 1)
	go func() {
		missed, err := m.Send(context.Background(), mailer.Letter{Subject: "送信を停止しました: " + strings.Repeat("とても長い件名 ", 20), Text: text, At: time.Now()})
		if err == nil && len(missed) != len(refused) {
			err = fmt.Errorf("refused are %s", missed)
		}
		sent <- err
	}()
	got := takeOne(t, l, refused)
	require.NoError(t, <-sent)
	require.NotEmpty(t, got.envID)
	return got
}

// letterGate judges what goes out, but for letters of the account notices@one.test.
func letterGate(t testing.TB, ring *keyring.Ring) *node {
	t.Helper()
	n := &node{t: t, log: &syncBuffer{}, metrics: prometheus.NewRegistry()}
	var err error
	n.Gate, err = outbound.New(enforce, outbound.Options{TrustedNetworks: []string{"10.0.0.0/8"}}, nil, outbound.Deps{
		Hash: hash, Dir: t.TempDir(), Registerer: n.metrics, Log: slog.New(slog.NewTextHandler(n.log, nil)),
		Letters: &outbound.Letters{
			Username: "notices@one.test", To: []string{"ops@admins.test", "night@admins.test"},
			Verify: func(mac string, fields ...string) error { return ring.Verify(keyring.Letter, mac, fields...) },
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// deliver hands a letter to the gate as Postfix does, after change.
func (n *node) deliver(l taken, login string, change func(*taken)) (r result) {
	if change != nil {
		l.to = append([]string(nil), l.to...)
		change(&l)
	}
	e := envelope(login, "203.0.113.9")
	e.From, e.EnvID = address(l.from), l.envID
	ctx := context.Background()
	tx, reply := n.Mail(ctx, e)
	if r.mail = reply; tx == nil {
		return r
	}
	defer tx.Release()
	for _, to := range l.to {
		if reply := tx.Recipient(ctx, address(to)); reply != nil {
			r.rcpt = reply
			continue
		}
		r.accepted++
	}
	if r.accepted == 0 {
		return r
	}
	m := &mail.Message{Envelope: e, SizeBytes: int64(len(l.raw)), Summary: &mail.Summary{Preview: l.raw}, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(l.raw)), nil
	}}
	m.QueueID = nextQueueID()
	head, _, _ := strings.Cut(l.raw, "\r\n\r\n")
	for _, field := range strings.Split(strings.ReplaceAll(head, "\r\n ", "\x00"), "\r\n") {
		name, value, _ := strings.Cut(field, ":")
		m.Header = append(m.Header, mail.Field{Name: name, Value: strings.ReplaceAll(value, "\x00", "\r\n ")})
	}
	r.end, r.hold = tx.End(ctx, m, mail.Verdict{})
	return r
}

func newKeyring(t testing.TB) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	return ring
}

func TestANoticeGoesOutFromAStoppedAccountAndNothingElseDoes(t *testing.T) {
	ring := newKeyring(t)
	n := letterGate(t, ring)
	const login = "notices@one.test"
	_, refused := n.blast(envelope(login, "203.0.113.9"), 40)
	require.NotNil(t, refused, "the account was stolen, and is stopped")
	r := n.deliver(post(t, ring, "hanako@one.test was stopped.\n"), login, nil)
	require.Equal(t, 2, r.left(), "%v", r)
	require.InDelta(t, 1, n.metric("mairust_outbound_notices_total"), 0)

	for name, change := range map[string]func(*taken){
		"no proof":             func(l *taken) { l.envID = "" },
		"an ENVID of its own":  func(l *taken) { l.envID = "QQ314159" },
		"another installation": func(l *taken) { l.envID = post(t, newKeyring(t), "x").envID },
		"another recipient":    func(l *taken) { l.to[1] = "victim@elsewhere.test" },
		"recipients more":      func(l *taken) { l.to = append(l.to, "victim@elsewhere.test", "victim2@elsewhere.test") },
		"a recipient less":     func(l *taken) { l.to = l.to[:1] },
		"another sender":       func(l *taken) { l.from = "ceo@one.test" },
		"another text":         func(l *taken) { l.raw += "Click http://phish.test\r\n" },
		"another subject":      func(l *taken) { l.raw = strings.Replace(l.raw, "Subject: ", "Subject: Invoice ", 1) },
		"a second subject":     func(l *taken) { l.raw = "Subject: Invoice\r\n" + l.raw },
		"a header only":        func(l *taken) { l.raw = "Subject: x\r\n" },
	} {
		r := n.deliver(post(t, ring, "hanako@one.test was stopped.\n"), login, change)
		require.Zero(t, r.left(), "%s: %v", name, r)
		for _, reply := range []*mail.Reply{r.mail, r.rcpt, r.end} {
			if reply != nil {
				require.Equal(t, 550, reply.Code, name)
			}
		}
	}

	e := envelope(login, "203.0.113.9")
	begun := post(t, ring, "hanako@one.test was stopped.\n")
	e.From, e.EnvID = address(begun.from), begun.envID
	tx, reply := n.Mail(t.Context(), e)
	require.Nil(t, reply)
	tx.Refused(t.Context(), address("ops@admins.test"), "5.1.1")
	require.Nil(t, tx.Recipient(t.Context(), address("night@admins.test")), "an administrator who is gone keeps no other from being told")
	tx.Refused(t.Context(), address("victim@elsewhere.test"), "5.1.1")
	require.NotNil(t, tx.Recipient(t.Context(), address("night@admins.test")))
	tx.Release()
	for name, reply := range map[string]string{"for good": "550 5.1.1 unknown", "for now": "450 4.2.0 greylisted"} {
		some := postSome(t, ring, "hanako@one.test was stopped.\n", map[string]string{"ops@admins.test": reply})
		require.Equal(t, []string{"night@admins.test"}, some.to, name)
		require.Equal(t, 1, n.deliver(some, login, nil).left(), "the proof is for those who were taken: %s", name)
		r = n.deliver(some, login, func(l *taken) { l.envID = "QQ314159" })
		require.Zero(t, r.left(), name)
	}

	letter := post(t, ring, "hanako@one.test was stopped.\n")
	require.Equal(t, 2, n.deliver(letter, login, nil).left())
	require.NotNil(t, n.deliver(letter, login, nil).mail, "a proof is good for one message")
	require.NotNil(t, n.deliver(letter, "NOTICES@one.test", nil).mail)
	require.Contains(t, n.log.String(), "the proof was used before")

	other := post(t, ring, "hanako@one.test was stopped.\n")
	_, refused = n.blast(envelope("thief@one.test", "203.0.113.9"), 40)
	require.NotNil(t, refused)
	require.NotNil(t, n.deliver(other, "thief@one.test", nil).mail, "another account has no use for a proof")
	require.Equal(t, 2, n.deliver(other, login, nil).left(), "nor does it spoil it")
}

// A letter is not counted, nor is one that is given up half way; what is none after all is.
func TestANoticeIsNotCounted(t *testing.T) {
	ring := newKeyring(t)
	n := letterGate(t, ring)
	before := n.metric("mairust_outbound_decisions_total")
	for range 3 {
		require.Equal(t, 2, n.deliver(post(t, ring, "stopped"), "notices@one.test", nil).left())
	}
	e := envelope("notices@one.test", "203.0.113.9")
	letter := post(t, ring, "stopped")
	e.From, e.EnvID = address(letter.from), letter.envID
	tx, reply := n.Mail(t.Context(), e)
	require.Nil(t, reply)
	require.Nil(t, tx.Recipient(t.Context(), address(letter.to[0])))
	tx.Release()
	require.InDelta(t, before, n.metric("mairust_outbound_decisions_total"), 0)
	r := n.deliver(post(t, ring, "stopped"), "notices@one.test", func(l *taken) { l.to[1] = "friend@elsewhere.test" })
	require.Equal(t, 2, r.left(), "it is mail like any other, of an account that may send: %v", r)
	require.InDelta(t, before+1, n.metric("mairust_outbound_decisions_total"), 0)
}
