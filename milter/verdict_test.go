package milter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// scripted is a source whose verdict a test changes between messages.
func scripted() (*atomic.Value, milter.Source) {
	var v atomic.Value
	v.Store(mail.Verdict{})
	return &v, milter.Source{Check: check{"scripted", func(context.Context, *mail.Message) (mail.Verdict, error) {
		return v.Load().(mail.Verdict), nil
	}}}
}

func TestVerdictsBecomeReplies(t *testing.T) {
	t.Parallel()
	verdict, source := scripted()
	s := newSite(t, serve(t, milter.Options{}, source), lab.PostfixOptions{})
	c := s.dial(t) // all on one connection, so that nothing of a refusal may stick
	for _, row := range []struct {
		verdict mail.Verdict
		reply   string
	}{
		{mail.Verdict{Action: mail.Reject}, "550 5.7.1 Message rejected"},
		{mail.Verdict{Action: mail.Tempfail}, "451 4.7.1 Try again later"},
		{mail.Verdict{Action: mail.Reject, Reply: &mail.Reply{Code: 554, Enhanced: "5.7.0", Text: "100% spam %s %% %d"}}, "554 5.7.0 100% spam %s %% %d"},
		{mail.Verdict{Action: mail.Tempfail, Reply: &mail.Reply{Code: 450, Enhanced: "4.2.0", Text: "Greylisted"}}, "450 4.2.0 Greylisted"},
		{mail.Verdict{Action: mail.Reject, Reply: &mail.Reply{Code: 450, Enhanced: "4.2.0", Text: "Not a reject"}}, "550 5.7.1 Message rejected"},
		{mail.Verdict{Action: mail.Reject, Reply: &mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "two\r\n250 lines"}}, "550 5.7.1 Message rejected"},
		{mail.Verdict{Action: mail.Reject, Reply: &mail.Reply{Code: 550, Enhanced: "4.7.1", Text: "mixed"}}, "550 5.7.1 Message rejected"},
		{mail.Verdict{Action: mail.Reject, Reply: &mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "日本語"}}, "550 5.7.1 Message rejected"},
	} {
		verdict.Store(row.verdict)
		require.Equal(t, row.reply, transaction(t, c, "a@sender.test", "bob@example.test", plain).String())
	}
	verdict.Store(mail.Verdict{Action: mail.Tag, Tags: []string{"News Letter", "spam"}, Score: 4.25})
	require.Equal(t, 250, transaction(t, c, "a@sender.test", "bob@example.test", plain).Code)
	scan := s.delivered(t, 1).scan()
	require.Equal(t, mail.Tag, scan.Action)
	require.Equal(t, []string{"news-letter", "spam"}, scan.Tags)
	require.InDelta(t, 4.25, scan.Score, 0)
}

func TestQuarantineStaysHereAndHoldsWhatGoesElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]string{"relay_domains": "relay.test", "relay_recipient_maps": ""}
	local, mixed := []string{"bob@example.test"}, []string{"bob@example.test", "eve@relay.test"}
	for _, row := range []struct {
		setting string
		rcpts   []string
		reply   int
		held    bool
		action  mail.Action
		tags    []string
	}{
		{"", local, 250, false, mail.Quarantine, nil},
		{"", mixed, 250, true, mail.Quarantine, nil},
		{"hold", mixed, 250, true, mail.Quarantine, nil},
		{"tag", local, 250, false, mail.Quarantine, nil},
		{"tag", mixed, 250, false, mail.Tag, []string{"quarantine"}},
		{"reject", mixed, 550, false, mail.Reject, nil},
	} {
		t.Run(fmt.Sprintf("%s to %d", row.setting, len(row.rcpts)), func(t *testing.T) {
			t.Parallel()
			o := milter.Options{Quarantine: milter.Quarantine{Elsewhere: row.setting}}
			s := newSite(t, serve(t, o, says(mail.Verdict{Action: mail.Quarantine})), lab.PostfixOptions{ExtraMain: elsewhere})
			r := s.sendWith(t, "a@sender.test", row.rcpts, plain, lab.SendOptions{})
			require.Equal(t, row.reply, r.Final[0].Code, "%v", r)
			if row.reply != 250 {
				return
			}
			if row.held {
				s.releaseHeld(t)
			}
			scan := s.delivered(t, 1).scan()
			require.Equal(t, row.action, scan.Action)
			require.Equal(t, row.tags, scan.Tags)
		})
	}
}

// releaseHeld sees that a message is in the hold queue and that nothing was delivered, and lets it go.
func (s *site) releaseHeld(t *testing.T) {
	t.Helper()
	ctx := waiting(t)
	require.NoError(t, lab.Eventually(ctx, func(ctx context.Context) error {
		q, err := s.pf.Queue(ctx)
		if err != nil || !strings.Contains(q, `"queue_name": "hold"`) {
			return errors.Join(err, fmt.Errorf("queue: %s", q))
		}
		return nil
	}))
	require.Empty(t, s.sink.Transactions())
	require.NoError(t, release(ctx, s.pf.ConfDir()))
}

func TestLocalMailIsNeverRefused(t *testing.T) {
	t.Parallel()
	verdict, source := scripted()
	s := newSite(t, serve(t, milter.Options{Quarantine: milter.Quarantine{Elsewhere: "reject"}}, source), lab.PostfixOptions{})
	submit := func(v mail.Verdict) {
		verdict.Store(v)
		require.NoError(t, s.pf.Sendmail(waiting(t), "root@example.test", []string{"bob@example.test"}, strings.NewReader("Subject: cron\n\nout\n")))
	}
	submit(mail.Verdict{Action: mail.Tag, Tags: []string{"cron"}})
	require.Equal(t, []string{"cron"}, s.delivered(t, 1).scan().Tags)

	// Postfix does not say here where a recipient goes, so that it may be elsewhere: held.
	for i, action := range []mail.Action{mail.Reject, mail.Tempfail, mail.Quarantine} {
		submit(mail.Verdict{Action: action})
		ctx := waiting(t)
		require.NoError(t, lab.Eventually(ctx, func(ctx context.Context) error {
			if err := release(ctx, s.pf.ConfDir()); err != nil {
				return err
			}
			if have := len(s.sink.Transactions()); have < i+2 {
				return fmt.Errorf("%d messages", have)
			}
			return nil
		}))
		require.Equal(t, mail.Quarantine, s.delivered(t, i+2).scan().Action)
	}
	require.NoError(t, s.pf.WaitQueueEmpty(waiting(t)))
	require.NotContains(t, s.pf.Log(), "status=bounced")
	require.Contains(t, s.pf.Log(), "milter-hold")
	require.Len(t, s.sink.Transactions(), 4)
}

func TestHeaderEditsAreMadeInOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, serve(t, milter.Options{}, says(mail.Verdict{Edits: []mail.Edit{
		{Op: mail.RemoveField, Name: "X-Old"},
		{Op: mail.RemoveField, Name: "X-Some", Index: 2},
		{Op: mail.RemoveField, Name: "X-Absent", Index: 3},
		{Op: mail.AppendField, Name: "X-New", Value: "a\r\n\tfolded\nInjected: no\r\n\r\nbody\x00"},
		{Op: mail.InsertField, Name: "X-Below", Value: "received", Index: 1},
		{Op: mail.ReplaceField, Name: "subject", Value: "[spam] hello", Index: 1},
		{Op: mail.ReplaceField, Name: "X-Not-There", Value: "added"},
		{Op: mail.AppendField, Name: "X-MaiRust-Scan", Value: "forged by a source"},
		{Op: mail.AppendField, Name: "Bad Name", Value: "x"},
		{Op: mail.AppendField, Name: "X:", Value: "x"},
	}})), lab.PostfixOptions{})
	s.accepted(t, message("From: a@sender.test", "X-Old: 1", "Subject: hello", "x-old: 2", "X-Some: 1", "X-Some: 2", "X-Some: 3", "Date: x", "Message-ID: <e@x>", "X-OLD:", "", "body"))
	d := s.delivered(t, 1)
	d.scan()
	fields := d.fields()
	require.True(t, strings.HasPrefix(fields[1], "Received: "), "%q", fields)
	require.Equal(t, []string{"X-Below: received", "From: a@sender.test", "subject: [spam] hello", "X-Some: 1", "X-Some: 3", "Date: x", "Message-ID: <e@x>",
		"X-New: a\r\n\tfolded\r\n\tInjected: no\r\n\tbody", "X-Not-There: added"}, fields[2:])
}

func TestMessageOverTheSpoolBoundIsTaggedUnscanned(t *testing.T) {
	t.Parallel()
	asked := false
	s := newSite(t, serve(t, milter.Options{SpoolMaxBytes: 2 << 20}, milter.Source{Check: check{"never", func(context.Context, *mail.Message) (mail.Verdict, error) {
		asked = true
		return mail.Verdict{Action: mail.Reject}, nil
	}}}), lab.PostfixOptions{})
	s.accepted(t, plain+strings.Repeat(strings.Repeat("z", 70)+"\r\n", 3<<20/72))
	scan := s.delivered(t, 1).scan()
	require.Equal(t, mail.Tag, scan.Action)
	require.Equal(t, []string{"unscanned"}, scan.Tags)
	require.False(t, asked)
}

func TestFullDiskIsATemporaryFailure(t *testing.T) {
	t.Parallel()
	m := serve(t, milter.Options{SpoolMemoryBytes: 100})
	s := newSite(t, m, lab.PostfixOptions{})
	breakSpool(t, m.spool)
	r := s.send(t, "a@sender.test", "bob@example.test", plain+strings.Repeat("z\r\n", 1000))
	require.Equal(t, "452 4.3.1 Insufficient system storage", r.Final[0].String())
}

// Through local(8), Postfix's transport is "local" whatever mailbox_transport says.
func TestLocalDeliveryAgentCountsAsHere(t *testing.T) {
	t.Parallel()
	m := serve(t, milter.Options{}, says(mail.Verdict{Action: mail.Quarantine}))
	sink := labtest.LMTPSink(t, "")
	s := &site{served: m, sink: sink, pf: labtest.Postfix(t, lab.PostfixOptions{
		Milter: "unix:" + m.socket, LocalDomains: "local.test", MailboxTransport: sink.Transport(),
	})}
	r := s.send(t, "a@sender.test", "bob@local.test", plain)
	require.True(t, r.Accepted(), "%v", r)
	require.Equal(t, mail.Quarantine, s.delivered(t, 1).scan().Action)
}

func TestMessageThatCannotBeLookedThroughIsTaggedMalformed(t *testing.T) {
	t.Parallel()
	verdict, source := scripted()
	s := newSite(t, serve(t, milter.Options{}, source), lab.PostfixOptions{})
	start := "From: a@sender.test\r\nDate: x\r\nMessage-ID: <m@x>\r\n"
	exe := "--b\r\nContent-Type: application/octet-stream; name=evil.exe\r\n\r\nMZ\r\n--b--\r\n"
	multipart := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	many := start + multipart + strings.Repeat("--b\r\n\r\n\r\n", 1000) + exe
	for i, msg := range []string{many, start + strings.Repeat("X: y\r\n", 2001) + multipart + exe, start + "Content-Type: multipart/mixed\r\n\r\n" + exe} {
		s.accepted(t, msg)
		scan := s.delivered(t, i+1).scan()
		require.Equal(t, mail.Tag, scan.Action)
		require.Equal(t, []string{"malformed"}, scan.Tags)
	}
	verdict.Store(mail.Verdict{Action: mail.Quarantine, Tags: []string{"x"}, Score: -3})
	s.accepted(t, many)
	scan := s.delivered(t, 4).scan()
	require.Equal(t, mail.Quarantine, scan.Action)
	require.Equal(t, []string{"x", "malformed"}, scan.Tags)
	require.InDelta(t, -3, scan.Score, 0)

	verdict.Store(mail.Verdict{})
	s.accepted(t, start+multipart+exe)
	require.Empty(t, s.delivered(t, 5).scan().Tags)
}
