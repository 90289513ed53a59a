package lmtp_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/lmtp/lookup"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// socket listens on a unix socket that Postfix's user may connect to.
func socket(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o777))
	return l
}

// site is a Postfix that asks our lookup and delivers to our LMTP, over the database backend.
type site struct {
	*real
	*storetest.Site
	postfix *lab.Postfix
	lookup  *lookup.Server
	served  chan error
	dir     string
}

func newSite(t *testing.T, backend string, options func(dir string) lab.PostfixOptions, setups ...setup) *site {
	t.Helper()
	st := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, backend))})
	s := &site{Site: storetest.NewSite(t, st, "t1", "example.test", "bob", "carol", "abc..def", "abc."), dir: labtest.ShortDir(t)}
	s.real = newReal(t, st, setups...)
	s.serveOn(t, socket(t, filepath.Join(s.dir, "lmtp")))
	s.startLookup(t)
	o := options(s.dir)
	if o.ExtraMain == nil {
		o.ExtraMain = map[string]string{}
	}
	o.ExtraMain["lmtp_line_length_limit"] = "0"
	o.ExtraMain["recipient_delimiter"] = "+"
	s.postfix = labtest.Postfix(t, o)
	return s
}

func (s *site) startLookup(t *testing.T) {
	t.Helper()
	var err error
	s.lookup, err = lookup.New(lookup.Options{}, lookup.Deps{Index: s.store, RecipientDelimiter: "+"})
	require.NoError(t, err)
	path := filepath.Join(s.dir, "lookup")
	l := socket(t, path)
	s.served = make(chan error, 1)
	go func(server *lookup.Server, served chan<- error) { served <- server.Serve(context.Background(), l) }(s.lookup, s.served)
	t.Cleanup(func() { s.stopLookup(t) })
}

func (s *site) stopLookup(t *testing.T) {
	t.Helper()
	if s.served == nil {
		return
	}
	require.NoError(t, s.lookup.Shutdown(within(t)))
	require.NoError(t, <-s.served)
	s.served = nil
}

func virtual(dir string) lab.PostfixOptions {
	return lab.PostfixOptions{
		VirtualMailboxDomains: "socketmap:unix:" + dir + "/lookup:domains",
		VirtualMailboxMaps:    "socketmap:unix:" + dir + "/lookup:mailboxes",
		VirtualTransport:      "lmtp:unix:" + dir + "/lmtp",
		ExtraMain:             map[string]string{"virtual_alias_maps": "socketmap:unix:" + dir + "/lookup:aliases"},
	}
}

func local(dir string) lab.PostfixOptions {
	return lab.PostfixOptions{
		VirtualMailboxDomains: "virtual.invalid",
		LocalDomains:          "example.test",
		LocalRecipientMaps:    "socketmap:unix:" + dir + "/lookup:mailboxes",
		MailboxTransport:      "lmtp:unix:" + dir + "/lmtp",
	}
}

// letter is a message with a long line and lines that begin with dots. It has no line that ends in CR: Postfix's
// smtpd takes the CR away.
var letter = "From: A <a@sender.test>\r\nSubject: through Postfix\r\nMessage-ID: <1@sender.test>\r\n" +
	"Date: Fri, 1 May 2026 12:00:00 +0000\r\nTo: bob@example.test\r\n\r\n" +
	".dot\r\n..two\r\n" + strings.Repeat("0123456789", 300) + "\r\n\xa4\xa2 eight bits\r\nend\r\n"

// requireLetter requires that object is letter as Postfix hands it on.
func requireLetter(t *testing.T, object, returnPath string) {
	t.Helper()
	lines := strings.SplitN(object, "\r\n", 2)
	require.Equal(t, "Return-Path: <"+returnPath+">", lines[0])
	_, rest, found := strings.Cut(lines[1], "\r\nFrom: A")
	require.True(t, found)
	require.Equal(t, letter, "From: A"+rest)
}

func TestPostfixDeliversByVirtualTransport(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			s := newSite(t, backend, virtual)
			_, err := s.store.EnsureAlias(within(t), s.Tenant.ID, mail.Address{Local: "robert", Domain: "example.test"},
				mail.Address{Local: "bob", Domain: "example.test"})
			require.NoError(t, err)
			_, _, err = s.store.EnsureDomain(within(t), s.Tenant.ID, "alias.test", s.Domain.ID)
			require.NoError(t, err)
			ctx := within(t)
			replies := send(t, s.postfix, "abc..def@docomo.ne.jp", "bob@example.test", "robert@example.test", "carol+x@example.test",
				"nobody@example.test", `"abc..def"@example.test`, "abc.@example.test", "a@elsewhere.test", "carol@alias.test", "nobody@alias.test")
			require.Equal(t, []int{250, 250, 250, 550, 250, 250, 554, 250, 550}, codes(replies))
			require.Contains(t, replies[3].Text, "5.1.1")
			require.NoError(t, s.postfix.WaitQueueEmpty(ctx))
			for _, local := range []string{"bob", "carol", "abc..def", "abc."} {
				list, objects := s.messages(t, s.Mailboxes[local], store.Inbox)
				require.Len(t, list, 1, local)
				requireLetter(t, objects[0], `"abc..def"@docomo.ne.jp`)
				require.Equal(t, "mx.example.test", list[0].QueueHost)
				requireLogged(t, s.postfix, list[0].QueueID+": to=<")
				requireLogged(t, s.postfix, "Stored as "+string(list[0].ID))
			}
		})
	}
}

// requireLogged waits for a text in the log, which a process of its own writes.
func requireLogged(t *testing.T, postfix *lab.Postfix, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(postfix.Log(), text) }, time.Minute, 10*time.Millisecond, text)
}

// Whatever Postfix has taken must not be refused for good: it would bounce the mail.
func TestPostfixDeliversOddSendersAndRecipients(t *testing.T) {
	s := newSite(t, storetest.Backends()[0], virtual)
	long := strings.Repeat("a", 600)
	senders := map[string]string{
		`""@evil.test`:                   `""@evil.test`,
		`"a b@x"@evil.test`:              `"a b@x"@evil.test`,
		long + "@evil.test":              long + "@evil.test",
		strings.Repeat("a", 1500) + "@x": strings.Repeat("a", 1024) + "@x",
		"か@evil.test":                    "か@evil.test",
		`"か か"@evil.test`:                `"か か"@evil.test`,
		"a!b":                            "b@a",
		"a@[192.0.2.1]":                  "a@[192.0.2.1]",
	}
	for from := range senders {
		require.Equal(t, []int{250}, codes(send(t, s.postfix, from, "bob@example.test")), "%.40q", from)
	}
	require.NoError(t, s.postfix.WaitQueueEmpty(within(t)))
	_, objects := s.messages(t, s.Mailboxes["bob"], store.Inbox)
	var want, have []string
	for _, path := range senders {
		want = append(want, "Return-Path: <"+path+">")
	}
	for _, o := range objects {
		line, _, _ := strings.Cut(o, "\r\n")
		have = append(have, line)
	}
	require.ElementsMatch(t, want, have)

	accepted := 0
	for _, rcpt := range []string{
		`carol+` + long + `@example.test`, `carol+` + strings.Repeat("a", 1500) + `@example.test`, `"carol+a b"@example.test`,
		`"carol+a@b"@example.test`, `"carol+` + "\x01" + `"@example.test`, `carol+か@example.test`, `"carol+"@example.test`, `""@example.test`,
	} {
		if codes(send(t, s.postfix, "a@sender.test", rcpt))[0] == 250 { // else Postfix has refused it
			accepted++
		}
	}
	require.GreaterOrEqual(t, accepted, 4)
	require.NoError(t, s.postfix.WaitQueueEmpty(within(t)))
	list, _ := s.messages(t, s.Mailboxes["carol"], store.Inbox)
	require.Len(t, list, accepted)
	require.NotContains(t, s.postfix.Log(), "status=bounced")
}

// lostReply is an index that stores, and then is not heard of.
type lostReply struct {
	lmtp.Index
	times atomic.Int32
}

func (x *lostReply) Deliver(ctx context.Context, copies []store.Copy) []store.Result {
	results := x.Index.Deliver(ctx, copies)
	if x.times.Add(1) < 3 {
		panic("the reply is lost")
	}
	return results
}

func (x *lostReply) DeliverWhile(ctx context.Context, c store.Copy, put func() error) (store.Result, error) {
	result, err := x.Index.DeliverWhile(ctx, c, put)
	if x.times.Add(1) < 3 {
		panic("the reply is lost")
	}
	return result, err
}

func TestPostfixSendsAgainWhatWasStored(t *testing.T) {
	var index *lostReply
	s := newSite(t, storetest.Backends()[0], virtual, func(_ *lmtp.Options, d *lmtp.Deps) {
		index = &lostReply{Index: d.Index}
		d.Index = index
	})
	require.Equal(t, []int{250, 250}, codes(send(t, s.postfix, "a@sender.test", "bob@example.test", "carol@example.test")))
	require.NoError(t, s.postfix.WaitQueueEmpty(within(t)))
	require.Equal(t, int32(3), index.times.Load())
	for _, local := range []string{"bob", "carol"} {
		_, objects := s.messages(t, s.Mailboxes[local], store.Inbox)
		require.Len(t, objects, 1)
		requireLetter(t, objects[0], "a@sender.test")
	}
}

func TestPostfixDeliversThroughLocal(t *testing.T) {
	s := newSite(t, storetest.Backends()[0], local)
	replies := send(t, s.postfix, "", "bob@example.test", "carol+x@example.test", "nobody@example.test", "abc..def@example.test")
	require.Equal(t, []int{250, 250, 550, 250}, codes(replies))
	require.NoError(t, s.postfix.WaitQueueEmpty(within(t)))
	for _, local := range []string{"bob", "carol", "abc..def"} {
		_, objects := s.messages(t, s.Mailboxes[local], store.Inbox)
		require.Len(t, objects, 1, local)
		require.True(t, strings.HasPrefix(objects[0], "Return-Path: <>\r\n"))
		require.Contains(t, objects[0], "\r\n"+strings.Repeat("0123456789", 300)+"\r\n")
	}
}

func TestPostfixWaitsWhenLookupOrStoreAreAway(t *testing.T) {
	s := newSite(t, storetest.Backends()[0], virtual)
	s.stopLookup(t)
	replies := send(t, s.postfix, "a@sender.test", "bob@example.test")
	require.Equal(t, []int{451}, codes(replies))
	s.startLookup(t)
	require.NoError(t, lab.Eventually(within(t), func(context.Context) error {
		_, err := acceptedBy(s.postfix, "bob@example.test")
		return err
	}))
	require.NoError(t, s.postfix.WaitQueueEmpty(within(t)))

	require.NoError(t, s.store.SuspendTenant(within(t), s.Tenant.ID, true, store.Beside{}))
	require.NoError(t, lab.Eventually(within(t), func(ctx context.Context) error {
		_, err := s.store.Resolve(ctx, mail.Address{Local: "bob", Domain: "example.test"}, "")
		if err == nil {
			return os.ErrExist // remembered from before
		}
		return nil
	}))
	require.Equal(t, []int{451}, codes(send(t, s.postfix, "a@sender.test", "bob@example.test")))
	require.NotContains(t, s.postfix.Log(), "status=bounced")
}

func send(t *testing.T, p *lab.Postfix, from string, rcpts ...string) []lab.Reply {
	t.Helper()
	replies, err := lab.SMTPSend(within(t), p.SMTPAddr, from, rcpts, []byte(letter), lab.SendOptions{MailParams: "BODY=8BITMIME"})
	require.NoError(t, err)
	return replies.Rcpts
}

// acceptedBy sends the letter; an error when it was not accepted.
func acceptedBy(p *lab.Postfix, rcpt string) (*lab.Replies, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	replies, err := lab.SMTPSend(ctx, p.SMTPAddr, "a@sender.test", []string{rcpt}, []byte(letter), lab.SendOptions{})
	if err == nil && !replies.Accepted() {
		err = os.ErrInvalid
	}
	return replies, err
}

func codes(replies []lab.Reply) []int {
	return slices.Collect(func(yield func(int) bool) {
		for _, r := range replies {
			if !yield(r.Code) {
				return
			}
		}
	})
}
