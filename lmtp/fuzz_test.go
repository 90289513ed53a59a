package lmtp_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/lmtp"
)

// FuzzSession feeds a connection with whatever comes. The server must answer every line in its own form, end
// when the client does, never panic, and store only what was sent whole.
func FuzzSession(f *testing.F) {
	const envelope = "LHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.test>\r\n"
	for _, seed := range []string{
		"", "\r\n", "LHLO\r\n", "QUIT\r\n", "STARTTLS\r\n", "starttlsx\r\n", "DATA\r\n", "BDAT\r\n", "BDAT 0 LAST\r\n", "AUTH PLAIN\r\n",
		envelope + "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n",
		envelope + "DATA\r\n.\r\n" + envelope + "DATA\r\nx\r\r\n.\rX\r\n..\r\n.\r\n",
		envelope + "DATA\nx\n.\n",
		envelope + "RCPT TO:<BoB@eXAmple.test>\r\nDATA\r\n.\r\n",
		envelope + "BDAT 3\r\nabcNOOP\r\nBDAT 2 LAST\r\nde",
		envelope + "BDAT 3\r\nabcRSET\r\nBDAT 2 LAST\r\nde",
		envelope + "BDAT 3\r\nabcMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n.\r\n",
		envelope + "BDAT 4294967295 LAST\r\nx", envelope + "BDAT 18446744073709551616 LAST\r\nx",
		"LHLO x\r\nMAIL FROM:<\"a\\\"b\"@c> SIZE=1 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<@a,@b:\"c d\"@e>\r\nVRFY x\r\n",
		"LHLO x\r\nMAIL FROM:<> SIZE=x\r\nMAIL FROM:<> BODY=BINARYMIME\r\nMAIL FROM:<\x80@\xff>\r\nRCPT TO:<>\r\n",
		strings.Repeat("x", 20_000), "LHLO x\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nBDAT x\r\nBDAT 1\r\n",
	} {
		f.Add([]byte(seed))
	}
	r := newRig(f, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MaxMessageBytes, o.SpoolMemoryBytes = 10_000, 100 })
	f.Fuzz(func(t *testing.T, input []byte) {
		r := r.with(t)
		defer r.clear()
		c := r.dial()
		go func() {
			_, _ = c.conn.Write(input) // the server may have had enough
			_ = c.conn.(*net.TCPConn).CloseWrite()
		}()
		replies, _ := io.ReadAll(c.text.R) // a reset, when the server closed on unread input
		for line := range strings.Lines(string(replies)) {
			require.Regexp(t, `^[2345][0-9][0-9][ -].*\r\n$`, line)
		}
		ends := strings.Count(string(input), "\n.\r\n") + strings.Count(strings.ToUpper(string(input)), "LAST")
		require.LessOrEqual(t, storedTransactions(t, string(replies)), ends)
		require.Zero(t, r.metric("mairust_lmtp_panics_total"))
	})
}

// storedTransactions returns how many mail transactions had a message stored. One of them may store for
// several recipients, or for one that was named twice, but for none that was not accepted.
func storedTransactions(t *testing.T, replies string) (n int) {
	for _, transaction := range strings.Split(replies, "250 2.1.0 Sender ok") {
		stored := strings.Count(transaction, "\r\n250 2.1.5 <")
		require.LessOrEqual(t, stored, strings.Count(transaction, "\r\n250 2.1.5 Recipient ok"))
		n += min(stored, 1)
	}
	return n
}

// FuzzMessage sends a message with DATA and again in chunks, and requires that both are stored as they are.
func FuzzMessage(f *testing.F) {
	for _, message := range hostile {
		if len(message) < 1000 { // others are shrunk for minutes
			f.Add([]byte(message), uint16(len(message)/3))
		}
	}
	r := newRig(f, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.SpoolMemoryBytes = 100 })
	f.Fuzz(func(t *testing.T, message []byte, cut uint16) {
		r := r.with(t)
		defer r.clear()
		c := r.hello()
		whole := string(message)
		c.envelope("a@sender.test", "bob@example.test")
		at := min(int(cut), len(whole))
		go c.send(chunk(whole[:at], "") + chunk(whole[at:], " LAST"))
		c.expect("250 2.0.0 Continue")
		requireStored(t, c.line())
		r.requireLast(t, whole)
		if whole != "" && !strings.HasSuffix(whole, "\r\n") {
			whole += "\r\n" // DATA ends in a line's end
		}
		requireStored(t, c.deliver("a@sender.test", whole, "bob@example.test")...)
		r.requireLast(t, whole)
	})
}

// clear removes what a run of a fuzz target stored.
func (r *rig) clear() {
	for _, c := range r.index.forget() {
		require.NoError(r.t, r.objects.Bucket.Delete(within(r.t), c.Key))
	}
}
