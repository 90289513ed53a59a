package lmtp_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/store"
)

func TestConversationWithOneMessage(t *testing.T) {
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MaxMessageBytes = 1000 })
	c := r.dial()
	c.send("LHLO mx.example.test\r\n")
	c.expect("250-Hello mx.example.test", "250-PIPELINING", "250-8BITMIME", "250-ENHANCEDSTATUSCODES", "250-CHUNKING",
		"250-SMTPUTF8", "250-SIZE 1000", "250 LIMITS RCPTMAX=1000")
	c.send("MAIL FROM:<a@sender.test> SIZE=100 BODY=8BITMIME\r\n")
	c.expect("250 2.1.0 Sender ok")
	c.send("RCPT TO:<bob@example.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<carol+lists@example.test>\r\nDATA\r\n")
	c.expect("250 2.1.5 Recipient ok", "550 5.1.1 No such mailbox",
		"250 2.1.5 Recipient ok", "354 Go ahead. End your data with <CR><LF>.<CR><LF>")
	c.send("Subject: hello\r\n\r\nworld\r\n.\r\nNOOP\r\nQUIT\r\n")
	for _, rcpt := range []string{"bob@example.test", "carol+lists@example.test"} {
		require.Regexp(t, `^250 2\.1\.5 <`+strings.ReplaceAll(rcpt, "+", `\+`)+`> Stored as [0-9a-f-]{36}$`, c.line())
	}
	c.expect("250 2.0.0 I have successfully done nothing", "221 2.0.0 Bye")
	c.expectEnd()

	stored := r.index.stored()
	require.Len(t, stored, 2)
	require.Equal(t, "lists", stored[1].Target.Detail)
	for _, s := range stored {
		require.Equal(t, "Return-Path: <a@sender.test>\r\nSubject: hello\r\n\r\nworld\r\n", r.object(s.Key))
	}
	require.InDelta(t, 1, r.metric("mairust_lmtp_recipients_refused_total", "reason=unknown"), 0)
	require.InDelta(t, 2, r.metric("mairust_lmtp_deliveries_total", "result=delivered"), 0)
	require.InDelta(t, 25, r.metric("mairust_lmtp_received_bytes_total"), 0)
}

// hostile are messages that parsers trip over. All of them end in CRLF, so that DATA can carry them.
var hostile = map[string]string{
	"empty":                   "",
	"header only":             "Subject: x\r\n",
	"body only":               "\r\nbody\r\n",
	"dots":                    ".\r\n..\r\n.a\r\n...\r\n\r\n.\r\n",
	"line ends in CR":         "Subject: x\r\n\r\nbody\r\r\nmore\r\r\r\n",
	"CR, then a dot":          "Subject: x\r\n\r\nbody\r\r\n.dot\r\r\n.\r\r\n",
	"dot, then CR":            "\r\n.\rX\r\n.\r\rY\r\n",
	"only CRs":                "\r\r\r\r\n",
	"bare LF":                 "Subject: x\n\nbody\n.\nmore\n.\r\n",
	"LF, then dot":            "a: b\r\n\r\nx\n.\r\n.\ny\r\n",
	"bare CR and dot":         "a: b\r\n\r\nx\r.\ry\r\n",
	"NUL and controls":        "a: \x00\x01\r\n\r\n\x00\x1b\x7f\r\n",
	"eight bits":              "Subject: \xa4\xa2\xff\xfe\r\n\r\n\x1b$B$3\x1b(B \x80\x81\r\n",
	"a long line":             "Subject: x\r\n\r\n" + strings.Repeat("x", 100_000) + "\r\n",
	"a long line full of CRs": "Subject: x\r\n\r\n" + strings.Repeat("\r", 50_000) + "\r\n",
	"a long header":           "X: " + strings.Repeat("y", 300_000) + "\r\n\r\n",
	"lines around buffers":    linesAround(16 << 10),
	"no colon at all":         strings.Repeat("nothing here\r\n", 5000),
}

// linesAround has lines whose ends fall on every side of a buffer's end.
func linesAround(size int) string {
	var b strings.Builder
	for n := size - 4; n < size+4; n++ {
		b.WriteString(strings.Repeat("z", n) + "\r\r\n.\r\n")
		b.WriteString("." + strings.Repeat("z", n) + "\r\n")
	}
	return b.String()
}

func TestMessagesAreStoredByteForByte(t *testing.T) {
	r := newRig(t, nil)
	for name, message := range hostile {
		t.Run("DATA "+name, func(t *testing.T) {
			c := r.hello()
			c.t = t
			requireStored(t, c.deliver("a@sender.test", message, "bob@example.test")...)
			r.requireLast(t, message)
			c.send("NOOP\r\n")
			c.expect("250 2.0.0 I have successfully done nothing")
		})
		t.Run("BDAT "+name, func(t *testing.T) {
			c := r.hello()
			c.t = t
			cut := strings.TrimSuffix(message, "\r\n") // chunks need no end of line
			c.envelope("a@sender.test", "bob@example.test")
			half := len(cut) / 2
			c.send(chunk(cut[:half], "") + chunk(cut[half:], " LAST") + "NOOP\r\n")
			c.expect("250 2.0.0 Continue")
			requireStored(t, c.line())
			c.expect("250 2.0.0 I have successfully done nothing")
			r.requireLast(t, cut)
		})
	}
	require.Zero(t, r.metric("mairust_lmtp_panics_total"))
}

func chunk(bytes, last string) string {
	return "BDAT " + strconv.Itoa(len(bytes)) + last + "\r\n" + bytes
}

// requireLast requires the bytes of the message that was stored last.
func (r *rig) requireLast(t *testing.T, message string) {
	t.Helper()
	stored := r.index.stored()
	last := stored[len(stored)-1]
	want := "Return-Path: <a@sender.test>\r\n" + message
	have := r.object(last.Key)
	require.Equal(t, len(want), len(have))
	require.True(t, want == have, "the bytes differ")
	require.Equal(t, int64(len(want)), last.Content.SizeBytes)
}

// This is why there is a wire: when it fails, go-smtp's own reader has become usable.
func TestLibraryAloneDoesNotSeeTheEndAfterCRCRLF(t *testing.T) {
	got := make(chan error, 1)
	p := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &bareSession{got: got}, nil }))
	p.LMTP = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = p.Serve(l) }()
	t.Cleanup(func() { _ = p.Close() })

	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	c := newClient(t, conn)
	c.line()
	c.send("LHLO x\r\n")
	c.lines()
	c.envelope("a@sender.test", "b@example.test")
	c.data("body\r\r\n")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.ErrorIs(t, <-got, io.ErrUnexpectedEOF)
}

// bareSession reads messages as go-smtp gives them.
type bareSession struct{ got chan error }

func (s *bareSession) Reset()                               {}
func (s *bareSession) Logout() error                        { return nil }
func (s *bareSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *bareSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *bareSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.got <- err
	return err
}

// Nothing that stands between the angle brackets as our MTA quotes it is refused for good, but what has no mailbox.
func TestNoPathIsAnErrorOfSyntax(t *testing.T) {
	r := newRig(t, nil)
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	rapid.Check(t, func(t *rapid.T) {
		local := quote.Replace(rapid.StringMatching(`[^\r\n]{0,20}`).Draw(t, "local"))
		domain := rapid.StringMatching(`[a-z0-9.-]{1,10}|\[[0-9.]{1,8}\]`).Draw(t, "domain")
		c := r.hello()
		defer c.conn.Close()
		c.send("MAIL FROM:<\"" + local + "\"@" + domain + "> SIZE=10\r\n")
		require.Regexp(t, "^250 ", c.line())
		c.send("RCPT TO:<\"" + local + "\"@" + domain + ">\r\nRCPT TO:<\"bob+" + local + "\"@example.test>\r\n")
		require.Regexp(t, "^550 5.1.1 ", c.line())
		require.Regexp(t, "^250 ", c.line())
	})
}

func TestOddPathsAreStored(t *testing.T) {
	s := newScanner(t)
	const body = "body\r\n"
	head, _, _ := strings.Cut(received, "From: A")
	for path, line := range map[string]string{
		strings.Repeat("a", 1025) + "@x.test": "<" + strings.Repeat("a", 1024) + "@x.test>",
		`""@x.test`:                           `<""@x.test>`,
		"a b@x.test":                          `<"a b"@x.test>`,
		`"a` + "\x01\x00" + `>"@x.test`:       `<"a` + "\uFFFD\uFFFD" + `>"@x.test>`,
		"a@b@c.test":                          `<"a@b"@c.test>`,
		"root":                                "<root>",
		"a@x..y":                              "<a@x..y>",
		"\xff@x.test":                         "<\uFFFD@x.test>",
	} {
		r := newRig(t, nil, s.verify)
		scan := scanOf(mail.Quarantine)
		scan.SenderDigest = mail.DigestSender(mail.ReadPath(path))
		c := r.hello()
		c.envelope(path, "bob@example.test", `"bob+`+"\x01"+` x"@example.test`)
		c.data(head + s.field(scan, body) + strings.TrimPrefix(received, head))
		requireStored(t, strings.Replace(c.line(), "odd.address@invalid", "", 1), strings.Replace(c.line(), "odd.address@invalid", "", 1))
		stored := r.index.stored()
		require.Len(t, stored, 1)
		require.Equal(t, store.Quarantine, stored[0].Folder, "%q", path)
		object, _, _ := strings.Cut(r.object(stored[0].Key), "\r\n")
		require.Equal(t, "Return-Path: "+line, object)
	}
}

func TestAddressesThatOthersWouldQuote(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{
		"abc..def@example.test", `"abc..def"@example.test`, "abc.@example.test", `"abc."@example.test`, ".abc@example.test",
		`"a b"@example.test`, `"q\"\\x"@example.test`, "@relay.test:bob@example.test", "BOB@EXAMPLE.TEST", `"b\ob"@example.test`,
		"abc..def+x@example.test", "ユーザ@example.test",
	} {
		t.Run("RCPT "+path, func(t *testing.T) {
			c := r.hello()
			c.t = t
			requireStored(t, c.deliver("a@sender.test", "x: y\r\n", path)...)
		})
	}
	for path, line := range map[string]string{
		"":                            "<>",
		"abc..def@docomo.ne.jp":       `<"abc..def"@docomo.ne.jp>`,
		`"abc..def"@docomo.ne.jp`:     `<"abc..def"@docomo.ne.jp>`,
		"abc.@ezweb.ne.jp":            `<"abc."@ezweb.ne.jp>`,
		`"a b"@sender.test`:           `<"a b"@sender.test>`,
		`"a@b"@sender.test`:           `<"a@b"@sender.test>`,
		"Some.One@Sender.TEST":        "<Some.One@sender.test>",
		"a@[192.0.2.1]":               "<a@[192.0.2.1]>",
		"no@such@address..":           `<"no@such"@address..>`,
		"prvs=0123=a-b+c@sender.test": "<prvs=0123=a-b+c@sender.test>",
	} {
		t.Run("MAIL "+path, func(t *testing.T) {
			c := r.hello()
			c.t = t
			requireStored(t, c.deliver(path, "x: y\r\n", "bob@example.test")...)
			stored := r.index.stored()
			object := r.object(stored[len(stored)-1].Key)
			require.Equal(t, "Return-Path: "+line+"\r\nx: y\r\n", object)
		})
	}
}

func TestCommandsOutOfOrderAndBroken(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for name, steps := range map[string][][2]string{
		"nothing before LHLO":   {{"MAIL FROM:<a@b.test>", "502 5.5.1 Please introduce yourself first."}},
		"SMTP is not spoken":    {{"EHLO x", "500 5.5.1 This is a LMTP server, use LHLO"}},
		"no second MAIL":        {{"LHLO x", ""}, {"MAIL FROM:<>", "250 2.1.0 Sender ok"}, {"MAIL FROM:<c@d.test>", "503 5.5.1 Sender was given already"}},
		"MAIL after RSET":       {{"LHLO x", ""}, {"MAIL FROM:<>", ""}, {"RSET", "250 2.0.0 Session reset"}, {"MAIL FROM:<>", "250 2.1.0 Sender ok"}},
		"MAIL after LHLO again": {{"LHLO x", ""}, {"MAIL FROM:<>", ""}, {"LHLO x", ""}, {"MAIL FROM:<>", "250 2.1.0 Sender ok"}},
		"DATA without RCPT":     {{"LHLO x", ""}, {"MAIL FROM:<>", ""}, {"DATA", "502 5.5.1 Missing RCPT TO command."}, {"NOOP", "250 2.0.0 I have successfully done nothing"}},
		"BDAT without RCPT":     {{"LHLO x", ""}, {"BDAT 6 LAST\r\nQUIT\r\n", "502 5.5.1 Missing RCPT TO command."}},
		"BDAT with nonsense":    {{"LHLO x", ""}, {"BDAT -1", "501 5.5.4 Malformed BDAT, closing connection"}},
		"BDAT with a word":      {{"LHLO x", ""}, {"BDAT 1 FIRST", "501 5.5.4 Malformed BDAT, closing connection"}},
		"BDAT without size":     {{"LHLO x", ""}, {"BDAT", "501 5.5.4 Malformed BDAT, closing connection"}},
		"BDAT of 4 GiB":         {{"LHLO x", ""}, {"BDAT 4294967296", "501 5.5.4 Malformed BDAT, closing connection"}},
		"bare CR in a command":  {{"LHLO x", ""}, {"MAIL FROM:<a@c.test> \rSIZE=1", "501 5.5.2 Bad command"}},
		"NUL in a command":      {{"LHLO x", ""}, {"MAIL FROM:<a@c.test> BODY=\x00", "501 5.5.2 Bad command"}},
		"an endless command":    {{long, "500 5.4.0 Too long line, closing connection"}},
		"unreadable recipient":  {{"LHLO x", ""}, {"MAIL FROM:<>", ""}, {"RCPT TO:<a@b..c>", "550 5.1.1 No such mailbox"}},
		"no STARTTLS":           {{"LHLO x", ""}, {"STARTTLS", "502 5.5.1 TLS not supported"}},
		"four errors":           {{"XX", "501 5.5.2 Bad command"}, {"XX", "501 5.5.2 Bad command"}, {"XX", "501 5.5.2 Bad command"}, {"XX", "501 5.5.2 Bad command"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newRig(t, nil).dial()
			for _, s := range steps {
				c.send(s[0] + "\r\n")
				lines := c.lines()
				if s[1] != "" {
					require.Equal(t, s[1], lines[0])
				}
			}
		})
	}
}

func TestNothingIsDoneAfterQUIT(t *testing.T) {
	for _, rest := range []string{
		"MAIL FROM:<a@b.test>\r\n",
		"LHLO mx.example.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nx\r\n.\r\n",
	} {
		r := newRig(t, nil)
		c := r.hello()
		c.send("QUIT\r\n" + rest)
		replies, err := io.ReadAll(c.conn)
		require.NoError(t, err)
		require.Equal(t, "221 2.0.0 Bye\r\n", string(replies))
		r.stop()
		require.Empty(t, r.index.stored())
		require.NotContains(t, r.log.String(), "panic")
	}
}

// RFC 1870 has sizes of 20 digits.
func TestSIZEOfAnyLength(t *testing.T) {
	r := newRig(t, nil)
	c := r.hello()
	c.send("MAIL FROM:<a@b.test> BODY=8BITMIME size=4294967296 SMTPUTF8\r\nRSET\r\nMAIL FROM:<a@b.test> \tSIZE=99999999999999999999\r\nRSET\r\nMAIL FROM:<a@b.test> SIZE=-1\r\n")
	for _, want := range []string{"250", "250", "250", "250", "501"} {
		require.Equal(t, want, c.line()[:3])
	}
	limited := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MaxMessageBytes = 1000 }).hello()
	limited.send("MAIL FROM:<a@b.test> SIZE=4294967297\r\n")
	limited.expect("552 5.3.4 Max message size exceeded")
}

// Postfix waits five minutes for each reply, and then for none of them.
func TestSlowLookupsKeepNoReplyWaiting(t *testing.T) {
	r := newRig(t, nil)
	heard := make(chan struct{})
	var lookups atomic.Int32
	r.index.onResolve = func(mail.Address) error {
		switch lookups.Add(1) {
		case 1:
			time.Sleep(1100 * time.Millisecond) // slow, for which there is no other sign
			return nil
		case 2:
			<-heard
			time.Sleep(1100 * time.Millisecond)
			return store.ErrUnavailable
		default:
			return nil
		}
	}
	c := r.hello()
	c.send("MAIL FROM:<a@b.test>\r\n" + strings.Repeat("RCPT TO:<bob@example.test>\r\n", 5) + "RSET\r\n" + "MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.test>\r\n")
	require.Equal(t, "250", c.line()[:3])
	require.Equal(t, "250", c.line()[:3])
	close(heard)
	for range 4 {
		require.Equal(t, "451", c.line()[:3], "the others are not looked for")
	}
	for range 3 {
		require.Equal(t, "250", c.line()[:3], "another message is another")
	}
	require.EqualValues(t, 3, lookups.Load())
}

func TestMessageOverTheLimitIsRefusedForEveryRecipient(t *testing.T) {
	const limit = 2000
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MaxMessageBytes = limit })
	c := r.hello()
	c.send("MAIL FROM:<a@sender.test> SIZE=2001\r\n")
	c.expect("552 5.3.4 Max message size exceeded")

	over := "a: b\r\n\r\n" + strings.Repeat("x", limit-9) + "\r\n"
	require.Len(t, over, limit+1)
	require.Equal(t, []string{"552 5.3.4 <bob@example.test> Message is too big", "552 5.3.4 <carol@example.test> Message is too big"},
		c.deliver("a@sender.test", over, "bob@example.test", "carol@example.test"))
	require.Empty(t, r.index.stored())

	requireStored(t, c.deliver("a@sender.test", over[1:], "bob@example.test")...)

	c.envelope("a@sender.test", "bob@example.test")
	c.send(chunk(over[:1500], "") + chunk(over[1500:], " LAST"))
	c.expect("250 2.0.0 Continue", "552 5.3.4 <bob@example.test> Message is too big")
	requireStored(t, c.deliver("a@sender.test", "a: b\r\n", "bob@example.test")...)
}

func TestTooManyRecipients(t *testing.T) {
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MaxRecipients = 2 })
	c := r.hello()
	c.envelope("a@sender.test", "bob@example.test", "carol@example.test")
	c.send("RCPT TO:<dave@example.test>\r\n")
	c.expect("452 4.5.3 Maximum limit of 2 recipients reached")
	c.data("a: b\r\n")
	requireStored(t, c.line(), c.line())
}

func TestResetWithinChunksStoresNothing(t *testing.T) {
	r := newRig(t, nil)
	c := r.hello()
	c.envelope("a@sender.test", "bob@example.test")
	c.send(chunk("Subject: x\r\n", "") + "RSET\r\n")
	c.expect("250 2.0.0 Continue", "250 2.0.0 Session reset")
	c.envelope("a@sender.test", "bob@example.test")
	c.send("BDAT 0\r\nNOOP\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n")
	c.expect("250 2.0.0 Continue", "250 2.0.0 I have successfully done nothing", "250 2.0.0 Continue")
	requireStored(t, c.line())
	r.requireLast(t, "abc")
	for command, reply := range map[string]string{
		"MAIL FROM:<>":               "250 2.1.0 Sender ok",
		"RCPT TO:<bob@example.test>": "502 5.5.1 Missing MAIL FROM command.",
		"DATA":                       "502 5.5.1 Missing RCPT TO command.",
		"nonsense":                   "501 5.5.2 Bad command",
	} {
		c.send("RSET\r\n")
		c.line()
		c.envelope("a@sender.test", "bob@example.test", "carol@example.test")
		c.send(chunk("given up", "") + command + "\r\n")
		c.expect("250 2.0.0 Continue", reply)
	}
	require.Len(t, r.index.stored(), 1)
}

func TestClientThatVanishesStoresNothing(t *testing.T) {
	for name, part := range map[string]string{
		"in DATA":              "DATA\r\nSubject: x\r\n\r\nhalf a li",
		"before the final dot": "DATA\r\nSubject: x\r\n\r\nbody\r\n",
		"in the final dot":     "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r",
		"in a chunk":           "BDAT 1000\r\nSubject: x\r\n",
		"in the last chunk":    "BDAT 1000 LAST\r\nSubject: x\r\n\r\nbody\r\n",
		"between chunks":       "BDAT 12\r\nSubject: x\r\n",
		"before a chunk":       "BDAT 12 LAST\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.hello()
			c.envelope("a@sender.test", "bob@example.test")
			c.send(part)
			require.NoError(t, c.conn.(*net.TCPConn).CloseWrite())
			rest, err := io.ReadAll(c.text.R)
			require.NoError(t, err)
			require.NotContains(t, string(rest), "250 2.1.5")
			require.Empty(t, r.index.stored())
			require.Empty(t, r.objects.done())
		})
	}
}

func TestManySessionsAtOnceSpoolToFiles(t *testing.T) {
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.SpoolMemoryBytes = 1000 })
	const sessions, messages = 16, 5
	failed := make(chan error, sessions)
	for i := range sessions {
		go func() { failed <- r.sendMany(i, messages) }()
	}
	for range sessions {
		require.NoError(t, <-failed)
	}
	stored := r.index.stored()
	require.Len(t, stored, sessions*messages)
	for _, s := range stored {
		lines := strings.SplitN(r.object(s.Key), "\r\n", 4)
		require.Equal(t, strings.Repeat(strings.TrimPrefix(lines[1], "Subject: "), 5000)+"\r\n", lines[3])
	}
}

// sendMany sends messages whose bodies repeat their subjects.
func (r *rig) sendMany(session, messages int) error {
	c, err := smtpDial(r.addr)
	if err != nil {
		return err
	}
	for i := range messages {
		mark := fmt.Sprintf("<%d.%d>", session, i)
		replies, err := c.message("a@sender.test", "Subject: "+mark+"\r\n\r\n"+strings.Repeat(mark, 5000)+"\r\n", "bob@example.test")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(replies[0], "250 2.1.5 ") {
			return fmt.Errorf("reply %q", replies[0])
		}
	}
	return nil
}
