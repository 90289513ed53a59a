package milter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// packet makes a milter packet.
func packet(code byte, data string) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))
	return append(append(p, code), data...)
}

func packets(list ...[]byte) []byte { return bytes.Join(list, nil) }

// everything is what Postfix offers.
var everything = packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")

// conversation is a whole SMTP session as Postfix tells it, but with the body on the end-of-message packet.
func conversation(body string) []byte {
	return packets(everything,
		packet('D', "Cj\x00mx.example.test\x00{daemon_name}\x00smtpd\x00"),
		packet('C', "client.test\x004\x04\xd2192.0.2.1\x00"),
		packet('H', "helo.test\x00"),
		packet('D', "M{auth_authen}\x00\x00"),
		packet('M', "<a@sender.test>\x00SIZE=10\x00"),
		packet('D', "R{rcpt_mailer}\x00lmtp\x00"),
		packet('R', "<bob@example.test>\x00"),
		packet('L', "Subject\x00 hello\x00"),
		packet('L', "X-Empty\x00\x00"),
		packet('D', "Ni\x00ABC123\x00"),
		packet('N', ""),
		packet('E', body),
		packet('A', ""),
		packet('Q', ""))
}

// converse writes raw bytes to a milter and reads its answers until it closes the connection.
func converse(t testing.TB, s *served, raw []byte) []byte {
	t.Helper()
	return converseAt(t, &net.UnixAddr{Name: s.socket, Net: "unix"}, raw)
}

func converseAt(t testing.TB, addr net.Addr, raw []byte) []byte {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	go func() {
		_, _ = conn.Write(raw) // the milter may close before it has read all
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	answers, err := io.ReadAll(conn)
	if err != nil {
		require.ErrorContains(t, err, "reset") // closed with bytes of ours unread
	}
	return answers
}

// codes gives the command bytes of answers.
func codes(t testing.TB, answers []byte) string {
	t.Helper()
	var b strings.Builder
	for len(answers) > 0 {
		n := binary.BigEndian.Uint32(answers)
		b.WriteByte(answers[4])
		answers = answers[4+n:]
	}
	return b.String()
}

func TestHandshakeTakesWhatTheMTAOffers(t *testing.T) {
	var rec recorder
	s := serve(t, milter.Options{}, rec.source())
	// Of all that Postfix offers: a reply to the end only, and one inserted field.
	answers := converse(t, s, conversation("body\r\n"))
	require.Equal(t, "Oic", codes(t, answers))
	require.Equal(t, "\x00\x00\x00\x02\x00\x00\x00\x31\x00\x1c\xfb\x80", string(answers[5:17]))
	m := rec.last(t)
	require.Equal(t, "Subject: hello\r\nX-Empty:\r\n\r\nbody\r\n", m.raw)
	require.Equal(t, "ABC123", m.QueueID)

	// An MTA that offers no options takes a space from each field and wants a reply to everything.
	old := bytes.Replace(conversation("body\r\n"), everything, talkative, 1)
	old = bytes.Replace(old, packet('L', "Subject\x00 hello\x00"), packet('L', "Subject\x00hello\x00"), 1)
	require.Equal(t, "O"+"cc"+"cc"+"cc"+"c"+"ic", codes(t, converse(t, s, old)))
	require.Equal(t, "Subject: hello\r\nX-Empty: \r\n\r\nbody\r\n", rec.last(t).raw)

	for name, offer := range map[string]string{
		"too old":         "\x00\x00\x00\x01\x00\x00\x01\xff\x00\x1f\xff\xff",
		"no header edits": "\x00\x00\x00\x06\x00\x00\x00\x00\x00\x1f\xff\xff",
	} {
		require.Empty(t, converse(t, s, packet('O', offer)), name)
	}
}

// talkative is an offer of no options: each command wants its reply.
var talkative = packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00")

// serveRole serves a milter with an engine on one socket of that role until the end of the test.
func serveRole(t testing.TB, role string, e *engine) net.Addr {
	t.Helper()
	s, err := milter.New(milter.Options{}, milter.Deps{Outbound: e, MAC: testMAC})
	require.NoError(t, err)
	ln := listenUnix(t, filepath.Join(labtest.ShortDir(t), "m.sock"))
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln, role) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	return ln.Addr()
}

func TestMAILAndRCPTAreAnsweredWhereSomebodyMayBeRefused(t *testing.T) {
	for role, want := range map[string]string{
		milter.RoleAuto: "Occic", milter.RoleSubmission: "Occic", milter.RoleInbound: "Oic", milter.RoleLocal: "Oic",
	} {
		require.Equal(t, want, codes(t, converseAt(t, serveRole(t, role, &engine{}), conversation("body\r\n"))), role)
	}
}

func TestAMessageIsReleasedOnceWhereverItsConnectionEnds(t *testing.T) {
	e := &engine{}
	addr := serveRole(t, milter.RoleSubmission, e)
	two := packets(conversation("one\r\n"), conversation("two\r\n")[len(everything):])
	two = bytes.Replace(two, packet('Q', ""), nil, 1) // two messages in a session, with the connect of XCLIENT between
	began := bytes.Index(two, packet('M', "<a@sender.test>\x00SIZE=10\x00"))
	for cut := began; cut <= len(two); cut++ {
		converseAt(t, addr, two[:cut])
	}
	require.Greater(t, e.settled(t), len(two)-began)
}

// settled waits until every message has been ended or released, and tells how many there were.
func (e *engine) settled(t testing.TB) (messages int) {
	t.Helper()
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		open := 0
		messages = 0
		for _, call := range e.calls {
			switch word, _, _ := strings.Cut(call, " "); word {
			case "mail":
				open, messages = open+1, messages+1
			case "end", "release":
				open--
			}
		}
		if open != 0 {
			return fmt.Errorf("%d messages are neither ended nor released", open)
		}
		return nil
	}))
	return messages
}

func TestBodyOnTheLastPacketIsNotLost(t *testing.T) {
	var rec recorder
	s := serve(t, milter.Options{}, rec.source())
	raw := bytes.Replace(conversation("last\r\n"), packet('N', ""), packets(packet('N', ""), packet('B', "first\r\n")), 1)
	require.Equal(t, "Oic", codes(t, converse(t, s, raw)))
	require.True(t, strings.HasSuffix(rec.last(t).raw, "\r\n\r\nfirst\r\nlast\r\n"), "%q", rec.last(t).raw)
}

func TestMalformedPacketsEndTheConnection(t *testing.T) {
	s := serve(t, milter.Options{})
	for name, p := range map[string][]byte{
		"no length":               {0, 0, 0, 0},
		"too long":                {0xff, 0xff, 0xff, 0xff, 'B'},
		"unknown command":         packet('Z', ""),
		"second handshake":        everything,
		"connect without family":  packet('C', "host\x00"),
		"connect without host":    packet('C', "4"),
		"connect, short port":     packet('C', "host\x004\x00"),
		"connect, no address end": packet('C', "host\x004\x00\x19192.0.2.1"),
		"connect, strange family": packet('C', "host\x00x\x00\x19192.0.2.1\x00"),
		"macro without stage":     packet('D', ""),
		"macro, odd number":       packet('D', "Cj\x00"),
		"macro, no end":           packet('D', "Cj\x00x"),
		"helo without end":        packet('H', "x"),
		"helo, two strings":       packet('H', "x\x00y\x00"),
		"mail, nothing":           packet('M', ""),
		"rcpt without end":        packet('R', "<x>"),
		"header, one string":      packet('L', "Subject\x00"),
		"header, three strings":   packet('L', "Subject\x00a\x00b\x00"),
		"header without name":     packet('L', "\x00value\x00"),
		"abort with data":         packet('A', "x"),
	} {
		before := s.metric(t, "mairust_milter_malformed_packets_total")
		answers := converse(t, s, packets(everything, p, packet('M', "<a@b.test>\x00")))
		require.Equal(t, "O", codes(t, answers), name)
		require.InDelta(t, before+1, s.metric(t, "mairust_milter_malformed_packets_total"), 0, name)
	}
	require.Empty(t, converse(t, s, packet('M', "<a@b.test>\x00")), "before the handshake")
	require.NotContains(t, s.log.String(), "panic")
}

func TestCommandsOutOfOrderDoNoHarm(t *testing.T) {
	var rec recorder
	s := serve(t, milter.Options{}, rec.source())
	for _, p := range [][]byte{packet('E', "x"), packet('B', "x"), packet('L', "a\x00b\x00"), packet('R', "<x@y.test>\x00"), packet('N', ""), packet('A', "")} {
		converse(t, s, packets(everything, p, p, conversation("body\r\n")[len(everything):]))
		require.Contains(t, rec.last(t).raw, "Subject: hello")
	}
	require.Len(t, rec.all(), 6)
}

func TestTheEndOfAMessageWithoutItsBeginningIsNotTaken(t *testing.T) {
	var rec recorder
	s := serve(t, milter.Options{}, rec.source())
	answers := converse(t, s, packets(everything, packet('R', "<x@y.test>\x00"), packet('E', "body\r\n"), packet('A', ""), conversation("body\r\n")[len(everything):]))
	require.Equal(t, "Oyic", codes(t, answers))
	require.Contains(t, string(answers), "451 4.7.1 Try again later")
	require.Len(t, rec.all(), 1)
}

func TestTheClientsAddressIsReadAsEveryMTAWritesIt(t *testing.T) {
	var rec recorder
	s := serve(t, milter.Options{}, rec.source())
	for written, want := range map[string]string{
		"4192.0.2.1": "192.0.2.1", "62001:db8::1": "2001:db8::1", "6IPv6:2001:db8::1": "2001:db8::1", "6ipv6:2001:DB8::2": "2001:db8::2",
		"6::ffff:192.0.2.7": "192.0.2.7", "6IPv6:::ffff:192.0.2.7": "192.0.2.7", "6IPv6:": "invalid IP", "4unknown": "invalid IP",
	} {
		connect := packet('C', "client.test\x00"+written[:1]+"\x04\xd2"+written[1:]+"\x00")
		raw := bytes.Replace(conversation("body\r\n"), packet('C', "client.test\x004\x04\xd2192.0.2.1\x00"), connect, 1)
		require.Equal(t, "Oic", codes(t, converse(t, s, raw)), written)
		require.Equal(t, want, rec.last(t).Client.Addr.String(), written)
	}
}

func TestMoreRecipientsThanTheBoundAreRefusedForNow(t *testing.T) {
	s := serve(t, milter.Options{}, says(mail.Verdict{Action: mail.Quarantine}))
	raw := packets(packet('M', "<>\x00"), packet('D', "R{rcpt_mailer}\x00lmtp\x00"), bytes.Repeat(packet('R', "<bob@example.test>\x00"), 10_001))
	answers := converse(t, s, packets(talkative, raw))
	require.True(t, bytes.HasSuffix(answers, packet('y', "452 4.5.3 Too many recipients\x00")))

	// Where RCPT is not answered, the last one counts as one of which nothing is known: as going elsewhere.
	require.Equal(t, "Oiqc", codes(t, converse(t, s, packets(everything, raw, packet('E', "body\r\n")))))
}

func TestPacketsOfEverySizeAreReadWhole(t *testing.T) {
	var rec recorder
	s := serve(t, milter.Options{}, rec.source())
	for _, n := range []int{1, 4090, 16<<10 - 6, 16<<10 - 5, 16<<10 - 1, 16 << 10, 16<<10 + 1, 65535, 1<<20 - 1} {
		body := strings.Repeat("x", n)
		raw := packets(everything, packet('M', "<>\x00"), packet('R', "<bob@example.test>\x00"), packet('B', body), packet('B', "y"), packet('E', body))
		require.Equal(t, "Oic", codes(t, converse(t, s, raw)), n)
		require.Equal(t, "\r\n"+body+"y"+body, rec.last(t).raw, n)
	}
	for cut := range 11 { // a connection that is lost within a packet
		raw := packets(everything, packet('M', "<>\x00"), packet('E', "body\r\n"))
		require.Equal(t, "O", codes(t, converse(t, s, raw[:len(raw)-1-cut])), cut)
	}
}

// withFields is a conversation with so many fields of each name.
func withFields(n int, names ...string) []byte {
	var fields []byte
	for _, name := range names {
		fields = append(fields, bytes.Repeat(packet('L', name+"\x00 x\x00"), n)...)
	}
	end := packet('D', "Ni\x00ABC123\x00")
	return bytes.Replace(conversation("body\r\n"), end, packets(fields, end), 1)
}

func TestForgedFieldsAreTakenAwayUpToABound(t *testing.T) {
	s := serve(t, milter.Options{})
	for _, names := range [][]string{{"X-MaiRust-A"}, {"X-MaiRust-A", "x-mairust-b"}} {
		fits := codes(t, converse(t, s, withFields(64/len(names), names...)))
		require.Equal(t, "O"+strings.Repeat("m", 64)+"ic", fits)
		require.Equal(t, "Oy", codes(t, converse(t, s, withFields(64/len(names)+1, names...))))
	}
}

func TestEditsOfEveryFieldOfANameAreBoundedAndTheVerdictStays(t *testing.T) {
	every := func(op mail.EditOp, names ...string) (edits []mail.Edit) {
		for _, name := range names {
			edits = append(edits, mail.Edit{Op: op, Name: name, Value: "y"})
		}
		return edits
	}
	stamp := mail.Edit{Op: mail.AppendField, Name: "X-Stamp", Value: "y"}
	for name, row := range map[string]struct {
		edits   []mail.Edit
		changes int
		leftOut float64
	}{
		"all fit":                {every(mail.RemoveField, "A"), 200, 0},
		"the second of two not":  {every(mail.RemoveField, "A", "B"), 200, 1},
		"replaced":               {every(mail.ReplaceField, "A", "B"), 200, 1},
		"again and again":        {slices.Repeat(every(mail.ReplaceField, "A"), 10), 200, 9},
		"one by one":             {slices.Repeat([]mail.Edit{{Op: mail.ReplaceField, Name: "A", Index: 1}}, 300), 255, 45},
		"and those of no effect": {slices.Repeat(every(mail.RemoveField, "None"), 300), 0, 45},
	} {
		v := mail.Verdict{Action: mail.Tag, Tags: []string{"spam"}, Edits: append([]mail.Edit{stamp}, row.edits...)}
		s := serve(t, milter.Options{}, says(v))
		answers := converse(t, s, withFields(200, "A", "B"))
		require.Equal(t, "Oh"+strings.Repeat("m", row.changes)+"ic", codes(t, answers), name)
		require.Regexp(t, `(?s)a=tag;\s+tags=spam;`, string(answers), name)
		require.InDelta(t, row.leftOut, s.metric(t, "mairust_milter_edits_left_out_total"), 0, name)
		require.Equal(t, row.leftOut > 0, strings.Contains(s.log.String(), "header edits left out"), name)
	}

	// Whoever sends more fields of a name than can be removed does not keep them.
	for n, want := range map[int]string{256: "O" + strings.Repeat("m", 256) + "ic", 257: "Oy", 100_000: "Oy"} {
		s := serve(t, milter.Options{}, says(mail.Verdict{Edits: append(every(mail.RemoveField, "A"), stamp)}))
		require.Equal(t, want, codes(t, converse(t, s, withFields(n, "A"))), n)
	}
}

func TestPanicInACheckCountsAsAnError(t *testing.T) {
	s := serve(t, milter.Options{}, milter.Source{OnError: "tempfail", Check: check{"broken", nil}})
	answers := converse(t, s, conversation("body\r\n"))
	require.Contains(t, string(answers), "451 4.7.1 Try again later")
	require.InDelta(t, 1, s.metric(t, "mairust_milter_panics_total"), 0)
	require.InDelta(t, 1, s.metric(t, "mairust_milter_check_errors_total"), 0)
	require.Contains(t, s.log.String(), "broken")
}
