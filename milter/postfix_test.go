package milter_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// The milter here has no database, nor has anything it is made of.
func TestMessageGoesThroughUnchangedWithoutAnyDatabase(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	s.accepted(t, plain)
	d := s.delivered(t, 1)
	scan := d.scan()
	require.Equal(t, mail.Allow, scan.Action)
	require.Equal(t, "mx.example.test", scan.Host)
	require.Contains(t, d.fields()[1], "id "+scan.QueueID+"\r\n")
	require.Equal(t, plain, d.original())

	m := rec.last(t)
	require.Equal(t, plain, m.raw)
	require.EqualValues(t, len(plain), m.SizeBytes)
	require.Equal(t, mail.Inbound, m.Direction)
	require.Equal(t, scan.QueueID, m.QueueID)
	require.Equal(t, []mail.Recipient{{Address: mail.Address{Local: "bob", Domain: "example.test"}, Mailer: "lmtp"}}, m.Rcpt)
	require.Equal(t, "hello", m.Summary.Subject)
	require.Equal(t, mail.Field{Name: "Subject", Value: " hello"}, m.Header[2])
}

func TestMessagesOfEveryShapeArriveByteForByte(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	line := strings.Repeat("x", 70) + "\r\n"
	for i, msg := range []string{
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <2@x>\r\n\r\n",                                              // no body
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <3@x>\r\n\r\n\r\n\r\n",                                      // blank lines
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <4@x>\r\nA:b\r\nE:\r\nS: \r\nT:\tt\r\n  u\r\n\r\nbody \r\n", // odd fields
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <5@x>\r\n\r\nend\r\n\r\n\r\n",                               // blank lines at the end
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <6@x>\r\n\r\n" + strings.Repeat(line, 65535/72) + "1\r\n",   // about one piece
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <7@x>\r\n\r\n" + strings.Repeat(line, 3<<20/72),             // over memory
		"From: a@sender.test\r\nDate: x\r\nMessage-ID: <8@x>\r\n\r\n" + strings.Repeat("y", 3000) + "\r\n\x80\xff8bit\r\n",
	} {
		s.accepted(t, msg)
		d := s.delivered(t, i+1)
		d.scan()
		require.Equal(t, msg, d.original(), "message %d", i)
		require.Equal(t, msg, rec.last(t).raw, "message %d as checked", i)
	}
}

// Postfix makes a header-only message of these; whatever arrives must carry a header that verifies.
func TestEmptyAndHeaderlessMessagesAreSigned(t *testing.T) {
	t.Parallel()
	s := newSite(t, serve(t, milter.Options{}), lab.PostfixOptions{})
	for i, msg := range []string{"", "\r\n", "From: a@sender.test\r\n", "no header at all\r\n", "\r\nonly body\r\n"} {
		s.accepted(t, msg)
		s.delivered(t, i+1).scan()
	}
}

func TestRefusedRecipientsAreNotPartOfTheEnvelope(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{
		VirtualMailboxMaps: "inline:{bob@example.test=x, dave@example.test=x}",
		ExtraMain: map[string]string{
			"virtual_alias_domains": "alias.test",
			"virtual_alias_maps":    "inline:{info@alias.test=bob@example.test}",
		},
	})
	r := s.sendWith(t, "alice@sender.test", []string{"bob@example.test", "carol@example.test", "info@alias.test", "eve@elsewhere.test", "dave@example.test"}, plain, lab.SendOptions{})
	var codes []int
	for _, rcpt := range r.Rcpts {
		codes = append(codes, rcpt.Code)
	}
	require.Equal(t, []int{250, 550, 250, 554, 250}, codes)
	require.True(t, r.Accepted())
	m := rec.last(t)
	var rcpts []string
	for _, r := range m.Rcpt {
		rcpts = append(rcpts, r.Address.String()+" "+r.Mailer)
	}
	// An accepted recipient in a virtual alias domain has the transport "error" as well.
	require.Equal(t, []string{"bob@example.test lmtp", "info@alias.test error", "dave@example.test lmtp"}, rcpts)
}

func TestSecondMessageOnAConnectionKnowsNothingOfTheFirst(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	c := s.dial(t)
	require.Equal(t, 250, transaction(t, c, "one@sender.test", "bob@example.test", plain).Code)
	second := message("Subject: second", "Date: x", "From: x@y.test", "Message-ID: <s@x>", "", "two")
	require.Equal(t, 250, transaction(t, c, "", "dave@example.test", second).Code)
	all := rec.all()
	require.Len(t, all, 2)
	require.Equal(t, "one@sender.test", all[0].From.String())
	m := all[1]
	require.True(t, m.From.IsZero())
	require.Len(t, m.Rcpt, 1)
	require.Equal(t, "dave@example.test", m.Rcpt[0].Address.String())
	require.Equal(t, second, m.raw)
	require.NotEqual(t, all[0].QueueID, m.QueueID)
	require.Equal(t, "client.example.test", m.Client.Helo)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), m.Client.Addr)
	s.delivered(t, 1).scan()
	s.delivered(t, 2).scan()
}

func TestXCLIENTGivesTheFactsOfTheRealClient(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{ExtraMain: map[string]string{"inet_protocols": "all"}})
	for _, row := range []struct {
		xclient   map[string]string
		client    mail.Client
		direction mail.Direction
	}{
		{map[string]string{"ADDR": "192.0.2.7", "NAME": "mail.sender.test"}, mail.Client{Addr: netip.MustParseAddr("192.0.2.7"), Name: "mail.sender.test"}, mail.Inbound},
		{map[string]string{"ADDR": "IPV6:2001:db8::1", "NAME": "[UNAVAILABLE]"}, mail.Client{Addr: netip.MustParseAddr("2001:db8::1")}, mail.Inbound},
		{map[string]string{"ADDR": "192.0.2.8", "LOGIN": "tanaka"}, mail.Client{Addr: netip.MustParseAddr("192.0.2.8"), Login: "tanaka"}, mail.Outbound},
	} {
		r := s.sendWith(t, "alice@sender.test", []string{"bob@example.test"}, plain, lab.SendOptions{XClient: row.xclient, Helo: "helo.test"})
		require.True(t, r.Accepted(), "%v", r)
		row.client.Helo = "helo.test"
		m := rec.last(t)
		require.Equal(t, row.client, m.Client)
		require.Equal(t, row.direction, m.Direction)
	}
}

func TestSubmissionServiceAndLoginMeanOutbound(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{Users: map[string]string{"alice@example.test": "pw"}})
	r, err := lab.SMTPSend(waiting(t), s.pf.SubmissionAddr, "alice@example.test", []string{"bob@example.test"}, []byte(plain),
		lab.SendOptions{Username: "alice@example.test", Password: "pw"})
	require.NoError(t, err)
	require.True(t, r.Accepted(), "%v", r)
	m := rec.last(t)
	require.Equal(t, mail.Outbound, m.Direction)
	require.Equal(t, "alice@example.test", m.Client.Login)
}

func TestAbortForgetsTheMessageAndItsSpool(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{SpoolMemoryBytes: 1000}, rec.source()), lab.PostfixOptions{})
	c := s.dial(t)
	cmd(t, c, "MAIL FROM:<lost@sender.test>", 250)
	cmd(t, c, "RCPT TO:<bob@example.test>", 250)
	cmd(t, c, "RSET", 250)
	require.Equal(t, 250, transaction(t, c, "alice@sender.test", "bob@example.test", plain+strings.Repeat("z\r\n", 5000)).Code)
	cmd(t, c, "RSET", 250) // and Postfix itself sends ABORT after each message
	require.Equal(t, 250, transaction(t, c, "alice@sender.test", "bob@example.test", plain).Code)
	cmd(t, c, "MAIL FROM:<lost@sender.test>", 250)
	require.NoError(t, c.Close())

	// A client that goes away within DATA.
	c = s.dial(t)
	cmd(t, c, "MAIL FROM:<lost@sender.test>", 250)
	cmd(t, c, "RCPT TO:<bob@example.test>", 250)
	cmd(t, c, "DATA", 354)
	require.NoError(t, c.Write([]byte("Subject: lost\r\n\r\n"+strings.Repeat("z\r\n", 5000))))
	require.NoError(t, c.Close())

	s.accepted(t, plain)
	for i := range 3 {
		s.delivered(t, i+1).scan()
	}
	for _, m := range rec.all() {
		require.Equal(t, "alice@sender.test", m.From.String())
		require.Len(t, m.Rcpt, 1)
	}
	require.Len(t, rec.all(), 3)
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
		if n := openSpools(t, s.spool); n > 0 {
			return fmt.Errorf("%d spool files are still open", n)
		}
		return nil
	}))
	left, err := os.ReadDir(s.spool)
	require.NoError(t, err)
	require.Empty(t, left)
}

// openSpools counts the descriptors of this process for files that were in dir.
func openSpools(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, dir) {
			n++
		}
	}
	return n
}

func TestPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{VirtualMailboxMaps: "inline:{bob@example.test=x, dave@example.test=x}"})
	c := s.dial(t)
	require.NoError(t, c.Write([]byte("MAIL FROM:<a@sender.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<dave@example.test>\r\nDATA\r\n")))
	for _, code := range []int{250, 250, 550, 250, 354} {
		r, err := c.ReadReply()
		require.NoError(t, err)
		require.Equal(t, code, r.Code, "%s", r)
	}
	r, err := c.Body([]byte(plain), 1)
	require.NoError(t, err)
	require.Equal(t, 250, r[0].Code)
	require.Len(t, rec.last(t).Rcpt, 2)
	s.delivered(t, 1).scan()
}

func TestForgedFieldsAreStripped(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	forged := message("X-MaiRust-Scan: v=1; t=1", "From: a@sender.test", "x-mairust-scan: again", "X-MAIRUST-SCAN : and again", "X-Mairust-Other: folded", "\tfurther",
		"Subject: kept", "X-MaiRust-Scan:", "X-MaiRusty: kept", "Date: x", "Message-ID: <f@x>", "X-MaiRust-Scan: last", "", "X-MaiRust-Scan: in the body")
	clean := message("From: a@sender.test", "Subject: kept", "X-MaiRusty: kept", "Date: x", "Message-ID: <f@x>", "", "X-MaiRust-Scan: in the body")
	s.accepted(t, forged)
	d := s.delivered(t, 1)
	d.scan()
	require.Equal(t, clean, d.original())
	require.Equal(t, clean, rec.last(t).raw)
	require.InDelta(t, 6, s.metric(t, "mairust_milter_forged_headers_total"), 0)

	// The same from a local process.
	require.NoError(t, s.pf.Sendmail(waiting(t), "root@example.test", []string{"bob@example.test"}, strings.NewReader(forged)))
	d = s.delivered(t, 2)
	d.scan()
	require.Equal(t, mail.Local, rec.last(t).Direction)
	require.Equal(t, clean, d.original())
}

func TestMoreForgedFieldsThanAnySystemWritesAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, serve(t, milter.Options{}), lab.PostfixOptions{})
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "X-MaiRust-%d: x\r\n", i)
	}
	for name, forged := range map[string]string{"names": b.String(), "of one name": strings.Repeat("X-MaiRust-A: x\r\n", 1000)} {
		r := s.send(t, "a@sender.test", "bob@example.test", forged+plain)
		require.Equal(t, "550 5.7.1 Message rejected", r.Final[0].String(), name)
	}
}

// Nobody can be refused there, and some of the fields stay.
func TestLocalMailWithTooManyForgedFieldsIsHeldWhateverIsSet(t *testing.T) {
	t.Parallel()
	s := newSite(t, serve(t, milter.Options{Quarantine: milter.Quarantine{Elsewhere: "tag"}}), lab.PostfixOptions{})
	require.NoError(t, s.pf.Sendmail(waiting(t), "root@example.test", []string{"bob@example.test"},
		strings.NewReader(strings.Repeat("X-MaiRust-A: x\n", 1000)+"Subject: x\n\nx\n")))
	s.releaseHeld(t)
	require.Contains(t, s.log.String(), "too many forged headers")
}

func TestQuotedLocalPartsOfCarriersAreReadUnquoted(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	for i, addr := range []string{`"abc..def"@docomo.test`, `abc..def@docomo.test`, `"abc."@ezweb.test`} {
		r := s.send(t, addr, `"x..y"@example.test`, plain)
		require.True(t, r.Accepted(), "%v", r)
		m := rec.last(t)
		require.NotContains(t, m.From.Local, `"`)
		require.Equal(t, "x..y", m.Rcpt[0].Address.Local)
		s.delivered(t, i+1).scan() // LMTP sees the same sender, or the MAC would not hold
	}
}

func TestALogLineTellsOfEachMessageAndNotItsContent(t *testing.T) {
	t.Parallel()
	s := newSite(t, serve(t, milter.Options{}, says(mail.Verdict{Action: mail.Tag, Tags: []string{"x"}, Score: 2.5})), lab.PostfixOptions{})
	s.accepted(t, message("From: a@sender.test", "Subject: secret words", "Date: x", "Message-ID: <l@x>", "", "secret body"))
	scan := s.delivered(t, 1).scan()
	var line string
	for sc := bufio.NewScanner(strings.NewReader(s.log.String())); sc.Scan(); {
		if strings.Contains(sc.Text(), "message judged") {
			line = sc.Text()
		}
	}
	for _, part := range []string{`"queue_id":"` + scan.QueueID + `"`, `"verdict":"tag"`, `"score":2.5`, `"tags":["x"]`, `"direction":"inbound"`, `"rcpt_count":1`, `"took":`} {
		require.Contains(t, line, part)
	}
	require.NotContains(t, s.log.String(), "secret")
	require.InDelta(t, 1, s.metric(t, "mairust_milter_messages_total"), 0)
}

func TestMalformedMailIsSignedAndNotRefused(t *testing.T) {
	t.Parallel()
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	start := "From: a@sender.test\r\nDate: x\r\nMessage-ID: <m@x>\r\n"
	for i, msg := range []string{
		start + "\r\nNUL \x00 in the body\r\n",
		start + "X-Nul: a\x00b\r\nSubject: \xff\xfe\r\n\r\nx\r\n",
		start + "\r\na bare \r in a line\r\n",
		start + "\r\n" + strings.Repeat("x", 100_000) + "\r\n",
		start + "X-Huge: " + strings.Repeat(strings.Repeat("x", 70)+"\r\n ", 3000) + "end\r\n\r\nx\r\n",
		start + strings.Repeat("X: y\r\n", 20_000) + "\r\nx\r\n",
		start + "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
		"no colon\r\n" + start + "\r\nx\r\n",
		": no name\r\n" + start + "\r\nx\r\n",
	} {
		s.accepted(t, msg)
		s.delivered(t, i+1).scan()
		require.Len(t, rec.all(), i+1)
	}
	require.Zero(t, s.metric(t, "mairust_milter_panics_total"))
}

func TestManySessionsAtOnceAreKeptApart(t *testing.T) {
	t.Parallel()
	const messages = 300
	var rec recorder
	s := newSite(t, serve(t, milter.Options{SpoolMemoryBytes: 4096}, rec.source()), lab.PostfixOptions{})
	out, err := exec.CommandContext(waiting(t), "smtp-source", "-s", "20", "-m", strconv.Itoa(messages), "-l", "8192", "-N", "-f", "a@sender.test", "-t", "bob@example.test", s.pf.SMTPAddr).CombinedOutput()
	require.NoError(t, err, "%s", out)
	ids := map[string]bool{}
	for i := range messages {
		ids[s.delivered(t, i+1).scan().QueueID] = true
	}
	require.Len(t, ids, messages)
	require.Len(t, rec.all(), messages)
	rcpts := map[string]bool{}
	for _, m := range rec.all() {
		require.Len(t, m.Rcpt, 1)
		rcpts[m.Rcpt[0].Address.String()] = true
	}
	require.Len(t, rcpts, messages) // -N numbers the recipients
}
