package lmtp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// received is a message as our MTA sends it: with its Received line on top.
const received = "Received: from client.test (client.test [192.0.2.9])\r\n" +
	"\tby mx.example.test (Postfix) with ESMTP id 4XyZ12abc\r\n" +
	"\tfor <bob@example.test>; Fri, 1 May 2026 12:00:00 +0000 (UTC)\r\n" +
	"From: A <a@sender.test>\r\nSubject: hello\r\n\r\nbody\r\n"

func TestErrorsOfTheIndexAtRcpt(t *testing.T) {
	for _, tt := range []struct {
		err   error
		reply string
	}{
		{store.ErrNotFound, "550 5.1.1 No such mailbox"},
		{fmt.Errorf("resolve: %w", store.ErrNotFound), "550 5.1.1 No such mailbox"},
		{store.ErrSuspended, "450 4.2.1 Mailbox is suspended, try again later"},
		{store.ErrQuota, "452 4.2.2 Mailbox full"},
		{store.ErrUnavailable, "451 4.3.0 Mail store is unavailable, try again later"},
		{errors.New("whatever\r\nit is"), "451 4.3.0 Mail store is unavailable, try again later"},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			r := newRig(t, nil)
			c := r.hello()
			c.envelope("a@sender.test", "carol@example.test")
			r.index.mu.Lock()
			r.index.onResolve = func(mail.Address) error { return tt.err }
			r.index.mu.Unlock()
			c.send("RCPT TO:<bob@example.test>\r\n")
			c.expect(tt.reply)
			c.data("x: y\r\n")
			requireStored(t, c.line()) // for the other
		})
	}
}

func TestErrorsOfTheIndexAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		err   error
		reply string
		// gone: certainly no row was stored, and the object is removed.
		gone bool
	}{
		{store.ErrNotFound, "450 4.2.0 <bob@example.test> The mailbox is not known any more, try again later", true},
		{fmt.Errorf("deliver: %w", store.ErrSuspended), "450 4.2.1 <bob@example.test> Mailbox is suspended, try again later", true},
		{store.ErrQuota, "452 4.2.2 <bob@example.test> Mailbox full", true},
		{store.ErrUnavailable, "451 4.3.0 <bob@example.test> Mail store is unavailable, try again later", false},
		{fmt.Errorf("%w: %w", store.ErrNotStored, store.ErrUnavailable), "451 4.3.0 <bob@example.test> Mail store is unavailable, try again later", true},
		{errors.New("commit: connection reset"), "451 4.3.0 <bob@example.test> Mail store is unavailable, try again later", false},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			r := newRig(t, nil)
			r.index.onDeliver = func(copies []store.Copy) []store.Result {
				return []store.Result{{Err: tt.err}, {ID: copies[1].ID}}
			}
			replies := r.hello().deliver("a@sender.test", received, "bob@example.test", "carol@example.test")
			require.Equal(t, tt.reply, replies[0])
			requireStored(t, replies[1])
			objects := 2
			if tt.gone {
				objects = 1
			}
			require.Len(t, keysOf(t, r.objects), objects)
			require.Contains(t, r.log.String(), tt.err.Error())
			require.Contains(t, r.log.String(), "queue_id=4XyZ12abc")
		})
	}
}

func TestIndexThatGivesNoResultIsNoSuccess(t *testing.T) {
	r := newRig(t, nil)
	r.index.onDeliver = func([]store.Copy) []store.Result { return []store.Result{} }
	require.Equal(t, []string{"451 4.3.0 <bob@example.test> Mail store is unavailable, try again later"},
		r.hello().deliver("a@sender.test", received, "bob@example.test"))
	require.Len(t, keysOf(t, r.objects), 1)
}

func TestErrorsOfTheObjectStore(t *testing.T) {
	for _, tt := range []struct {
		err   error
		reply string
		calls []string
	}{
		{blob.ErrFull, "452 4.3.1 <bob@example.test> Out of storage space, try again later", []string{"put 2", "put 1", "put 1", "delete"}},
		{fmt.Errorf("write: %w", syscall.ENOSPC), "452 4.3.1 <bob@example.test> Out of storage space, try again later", []string{"put 2", "put 1", "put 1", "delete"}},
		{errors.New("503 slow down"), "451 4.3.0 <bob@example.test> Mail store is unavailable, try again later", []string{"put 2", "put 1", "put 1", "delete"}},
		{blob.ErrExists, "451 4.3.0 <bob@example.test> Mail store is unavailable, try again later", []string{"put 2", "put 1", "put 1"}},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			r := newRig(t, nil)
			r.objects.onPut = func(key string) error {
				if strings.Contains(key, "bob") {
					return tt.err
				}
				return nil
			}
			replies := r.hello().deliver("a@sender.test", received, "bob@example.test", "carol@example.test")
			require.Equal(t, tt.reply, replies[0])
			requireStored(t, replies[1])
			require.Equal(t, tt.calls, r.objects.done())
			require.Len(t, r.index.stored(), 1)
		})
	}
}

func TestKeysThatWereTakenBackAreNotPutAgain(t *testing.T) {
	r := newRig(t, nil)
	var keys []string
	r.objects.onPut = func(key string) error {
		if keys = append(keys, key); len(keys) == 2 {
			return errors.New("503 slow down")
		}
		return nil
	}
	replies := r.hello().deliver("a@sender.test", received, "bob@example.test", "carol@example.test")
	require.Equal(t, []string{"put 2", "put 1", "put 1"}, r.objects.done())
	require.NotContains(t, keys[2:], keys[0])
	require.NotContains(t, keys[2:], keys[1])
	require.ElementsMatch(t, keys[2:], keysOf(t, r.objects))
	for i, c := range r.index.stored() {
		require.Equal(t, keys[2+i], c.Key)
		require.Equal(t, store.ObjectKey(c.Target.Tenant, c.Target.Mailbox, c.ID), c.Key)
		require.Contains(t, replies[i], string(c.ID))
	}
}

func TestRemovalsOfATransactionHaveOneDeadline(t *testing.T) {
	r := newRig(t, nil)
	r.objects.onPut = func(key string) error {
		if strings.Contains(key, "bob") {
			return errors.New("503 slow down")
		}
		return nil
	}
	r.index.onDeliver = func(copies []store.Copy) []store.Result {
		results := make([]store.Result, len(copies))
		for i := range results {
			results[i].Err = store.ErrNotStored
		}
		return results
	}
	r.hello().deliver("a@sender.test", received, "bob@example.test", "carol@example.test", "dave@example.test", "erin@other.test")
	require.Empty(t, keysOf(t, r.objects))
	r.objects.mu.Lock()
	defer r.objects.mu.Unlock()
	require.Len(t, r.objects.deadlines, 4)
	require.NotZero(t, r.objects.deadlines[0])
	for _, d := range r.objects.deadlines {
		require.Equal(t, r.objects.deadlines[0], d)
	}
}

func TestTenantsShareNoBytes(t *testing.T) {
	r := newRig(t, nil)
	requireStored(t, r.hello().deliver("a@sender.test", received, "bob@example.test", "erin@other.test", "carol@example.test")...)
	require.Equal(t, []string{"put 2", "put 1"}, r.objects.done())
}

func TestOneMailboxNamedSeveralTimesGetsOneCopyAndEveryReply(t *testing.T) {
	r := newRig(t, nil)
	replies := r.hello().deliver("a@sender.test", received,
		"bob@example.test", "robert@example.test", "carol@example.test", "bob@example.test", "bob+x@example.test")
	requireStored(t, replies...)
	stored := r.index.stored()
	require.Len(t, stored, 2)
	require.Equal(t, "bob@example.test", stored[0].Rcpt.String())
	for i, rcpt := range []string{"bob@example.test", "robert@example.test", "", "bob@example.test", "bob+x@example.test"} {
		if rcpt != "" {
			require.Equal(t, fmt.Sprintf("250 2.1.5 <%s> Stored as %s", rcpt, stored[0].ID), replies[i])
		}
	}
}

func TestMessageSentAgainIsAnsweredAndNotStoredAgain(t *testing.T) {
	r := newRig(t, nil)
	first := r.hello().deliver("a@sender.test", received, "bob@example.test")
	again := r.hello().deliver("a@sender.test", received, "bob@example.test")
	requireStored(t, first...)
	require.Equal(t, first, again)
	require.Len(t, r.index.stored(), 1)
	require.Equal(t, []string{"put 1", "put 1", "delete"}, r.objects.done())
	require.InDelta(t, 1, r.metric("mairust_lmtp_deliveries_total", "result=duplicate"), 0)
}

// Another node's sweep has taken the object in by then, and told the MTA that its message is there.
func TestAnObjectThatIsNotNeededStaysWhenTheDeliveryTookTooLong(t *testing.T) {
	for took, want := range map[time.Duration][]string{
		time.Minute: {"put 1", "delete"}, 5 * time.Minute: {"put 1"}, 2 * time.Hour: {"put 1"}, -time.Hour: {"put 1"},
	} {
		var later atomic.Int64
		r := newRig(t, nil, func(_ *lmtp.Options, d *lmtp.Deps) {
			d.Now = func() time.Time { return epoch.Add(time.Duration(later.Load())) }
		})
		r.index.onDeliver = func([]store.Copy) []store.Result {
			later.Store(int64(took))
			return []store.Result{{Err: store.ErrNotStored}}
		}
		require.Regexp(t, "^451 ", r.hello().deliver("a@sender.test", received, "bob@example.test")[0])
		require.Equal(t, want, r.objects.done(), took)
	}
}

func TestAMessageThatCannotBeStoredIsToldToWhoLooks(t *testing.T) {
	var later atomic.Int64
	r := newRig(t, nil, func(_ *lmtp.Options, d *lmtp.Deps) {
		d.Now = func() time.Time { return epoch.Add(time.Duration(later.Load())) }
	})
	require.NoError(t, r.server.Check(t.Context()))
	r.objects.onPut = func(string) error { return blob.ErrFull }
	require.Contains(t, r.hello().deliver("a@sender.test", received, "bob@example.test")[0], "452 ")
	require.ErrorIs(t, r.server.Check(t.Context()), blob.ErrFull, "it may be the disk of one mailbox, at which nobody else looks")
	r.server.ForgetFaults()
	r.objects.onPut = func(string) error { return syscall.EIO }
	require.Contains(t, r.hello().deliver("a@sender.test", received, "bob@example.test")[0], "451 ")
	require.ErrorIs(t, r.server.Check(t.Context()), syscall.EIO)
	r.objects.onPut = nil
	requireStored(t, r.hello().deliver("a@sender.test", received, "bob@example.test")...)
	require.Error(t, r.server.Check(t.Context()), "others may fail still")
	later.Store(int64(time.Minute))
	require.NoError(t, r.server.Check(t.Context()))
	r.objects.onPut = func(string) error { return syscall.EIO }
	fail := func(after time.Duration) {
		later.Store(int64(after))
		require.Contains(t, r.hello().deliver("a@sender.test", received, "bob@example.test")[0], "451 ")
	}
	fail(6 * time.Minute)
	later.Store(int64(20 * time.Minute))
	require.Error(t, r.server.Check(t.Context()), "it is tried again, and fails again")
	later.Store(int64(22 * time.Minute))
	require.NoError(t, r.server.Check(t.Context()))
	fail(23 * time.Minute)
	fail(24 * time.Minute)
	r.server.ForgetFaults()
	require.NoError(t, r.server.Check(t.Context()))
	fail(25 * time.Minute)
	later.Store(int64(26 * time.Minute))
	require.NoError(t, r.server.Check(t.Context()), "once is not again and again")
}

// The database works, and refuses the row of one message whenever it comes.
func TestARowThatCannotBeStoredIsToldToWhoLooks(t *testing.T) {
	r := newRig(t, nil)
	for err, told := range map[error]bool{
		store.ErrUnavailable: false, store.ErrFull: false, store.ErrQuota: false, store.ErrSuspended: false, store.ErrNotFound: false,
		errors.New("refused"): true,
	} {
		r.server.ForgetFaults()
		r.index.onDeliver = func([]store.Copy) []store.Result { return []store.Result{{Err: err}} }
		require.Regexp(t, "^4", r.hello().deliver("a@sender.test", received, "bob@example.test")[0])
		require.Equal(t, told, r.server.Check(t.Context()) != nil, err)
	}
}

func TestDeliveryID(t *testing.T) {
	object := "Return-Path: <a@sender.test>\r\n" + received
	digest := sha256.Sum256([]byte(object))
	sum := sha256.Sum256([]byte("m-t1-bobx\x00" + hex.EncodeToString(digest[:])))
	id := "69f495c0.4XyZ12abc." + base64.RawURLEncoding.EncodeToString(sum[:])
	for name, tt := range map[string]struct{ lhlo, message, want string }{
		"of our MTA's message":      {"mx.example.test", received, id},
		"in another case":           {"MX.Example.Test", received, id},
		"of another MTA's message":  {"relay.example.test", received, ""},
		"without Received":          {"mx.example.test", "Subject: x\r\n\r\n", ""},
		"Received without queue id": {"mx.example.test", "Received: by mx.example.test; now\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.dial()
			c.send("LHLO " + tt.lhlo + "\r\n")
			c.lines()
			requireStored(t, c.deliver("a@sender.test", tt.message, "bob@example.test")...)
			require.Equal(t, tt.want, r.index.stored()[0].DeliveryID)
		})
	}
}

func TestASecondLHLOCounts(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial()
	for _, name := range []string{"first.test", "mx.example.test"} {
		c.send("LHLO " + name + "\r\n")
		c.lines()
	}
	requireStored(t, c.deliver("a@sender.test", received, "bob@example.test")...)
	require.NotEmpty(t, r.index.stored()[0].DeliveryID)
}

func TestAnMTAOfAnotherNameIsOursWhenOurMilterSaysSo(t *testing.T) {
	s := newScanner(t)
	r := newRig(t, nil, s.verify)
	c := r.dial()
	c.send("LHLO other.example.test\r\n")
	c.lines()
	for _, message := range []string{received, received, s.field(scanOf(mail.Allow), "body\r\n") + received} {
		requireStored(t, c.deliver("a@sender.test", message, "bob@example.test")...)
	}
	stored := r.index.stored()
	require.Empty(t, stored[0].DeliveryID)
	require.Empty(t, stored[1].DeliveryID)
	require.NotEmpty(t, stored[2].DeliveryID)
	require.Equal(t, 1, strings.Count(r.log.String(), "would be stored again"))
}

func TestWhatTheIndexIsTold(t *testing.T) {
	r := newRig(t, nil)
	requireStored(t, r.hello().deliver("a@sender.test", received, "robert@example.test")...)
	c := r.index.stored()[0]
	object := "Return-Path: <a@sender.test>\r\n" + received
	require.Equal(t, sha256.Sum256([]byte(object)), c.Content.Digest)
	require.Equal(t, int64(len(object)), c.Content.SizeBytes)
	require.Equal(t, "hello", c.Content.Summary.Subject)
	require.Equal(t, epoch, c.Content.Received)
	require.Equal(t, "4XyZ12abc", c.Content.QueueID)
	require.Equal(t, "mx.example.test", c.Content.Host)
	require.Equal(t, mail.Address{Local: "a", Domain: "sender.test"}, c.Content.From)
	require.Equal(t, "robert@example.test", c.Rcpt.String())
	require.Equal(t, "bob@example.test", c.Target.Address.String())
	require.Equal(t, store.ObjectKey(c.Target.Tenant, c.Target.Mailbox, c.ID), c.Key)
}

func TestPanicsAreTemporaryFailures(t *testing.T) {
	const reply = "451 4.3.0 <bob@example.test> Mail store is unavailable, try again later"
	r := newRig(t, nil)
	r.index.onResolve = func(a mail.Address) error {
		if a.Local == "dave" {
			panic("resolve")
		}
		return nil
	}
	c := r.hello()
	c.envelope("a@sender.test", "bob@example.test")
	c.send("RCPT TO:<dave@example.test>\r\n")
	c.expect("451 4.3.0 Mail store is unavailable, try again later")
	c.data(received)
	requireStored(t, c.line())

	r.objects.onPut = func(string) error { panic("put") }
	require.Equal(t, []string{reply, strings.Replace(reply, "bob", "carol", 1)},
		c.deliver("a@sender.test", received, "bob@example.test", "carol@example.test"))
	r.objects.onPut = nil
	r.index.onDeliver = func([]store.Copy) []store.Result { panic("deliver") }
	require.Equal(t, []string{reply}, c.deliver("a@sender.test", received, "bob@example.test"))
	r.index.onDeliver = nil
	requireStored(t, c.deliver("a@sender.test", received+"more\r\n", "bob@example.test")...)
	require.InDelta(t, 3, r.metric("mairust_lmtp_panics_total"), 0)
	require.Equal(t, 3, strings.Count(r.log.String(), "panic in lmtp"))
}
