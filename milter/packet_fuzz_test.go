package milter_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// FuzzPackets gives a milter arbitrary bytes after a handshake.
func FuzzPackets(f *testing.F) {
	f.Add(conversation("body\r\n")[len(everything):])
	f.Add(bytes.Repeat(conversation("")[len(everything):], 2))
	f.Add(packets(packet('M', "<\"a b\"@x>\x00"), packet('R', "<>\x00"), packet('L', "X-MaiRust-Scan\x00v=1\x00"), packet('E', "")))
	f.Add(packets(packet('C', "\x00U"), packet('C', "h\x00L\x00\x00/x\x00"), packet('D', "C"), packet('A', "")))
	f.Add([]byte{0, 0, 0, 2, 'D'})
	s := serve(f, milter.Options{SpoolMemoryBytes: 100, SpoolMaxBytes: 5000}, says(mail.Verdict{
		Action: mail.Quarantine, Edits: []mail.Edit{{Op: mail.RemoveField, Name: "Subject"}, {Op: mail.ReplaceField, Name: "X", Value: "y"}},
	}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		converse(t, s, packets(everything, raw))
		require.Zero(t, s.metric(t, "mairust_milter_panics_total"))
	})
}

// silences are the bits of the handshake that keep a command without its reply; the end of a message has none.
var silences = map[byte]uint32{'C': 1 << 12, 'H': 1 << 13, 'M': 1 << 14, 'R': 1 << 15, 'L': 1 << 7, 'N': 1 << 18, 'B': 1 << 19, 'E': 0}

// FuzzConversations gives a milter with an engine arbitrary bytes after a handshake with arbitrary options. A reply too many would be
// taken for that of another command, and so for consent to another message.
func FuzzConversations(f *testing.F) {
	two := packets(conversation("one\r\n"), conversation("two\r\n")[len(everything):])
	two = bytes.ReplaceAll(two, packet('Q', ""), nil)[len(everything):]
	for _, options := range []uint32{0, 0x7f, 0x3ff, 0x1fffff, 0xffffffff} {
		f.Add(options, two)
		f.Add(options, packets(packet('M', "<stopped@x.test>\x00"), packet('E', ""), packet('R', "<x@y.test>\x00"), packet('A', ""), two))
	}
	e := &engine{}
	e.mail = func(env mail.Envelope) *mail.Reply {
		if env.From.Local != "stopped" {
			return nil
		}
		e.note("end refused") // and nothing more is asked
		return &stop
	}
	addr := serveRole(f, milter.RoleSubmission, e)
	f.Fuzz(func(t *testing.T, options uint32, raw []byte) {
		offer := packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff"+string(binary.BigEndian.AppendUint32(nil, options)))
		answers := converseAt(t, addr, packets(offer, raw))
		require.NotEmpty(t, answers)
		taken := binary.BigEndian.Uint32(answers[13:])
		require.Zero(t, taken&^options, "an option that was not offered")

		said := codes(t, answers)
		require.Empty(t, strings.Trim(said, "Ocyhimq"))
		replies := strings.Count(said, "c") + strings.Count(said, "y")
		require.LessOrEqual(t, replies, wanted(raw, taken))
		require.LessOrEqual(t, strings.Count(said, "i"), bytes.Count(raw, []byte("E")), "each message has one scan header")
		e.settled(t)
		e.take()
	})
}

// wanted counts the commands in raw that want a reply, with these options.
func wanted(raw []byte, options uint32) (n int) {
	for len(raw) > 4 {
		length := binary.BigEndian.Uint32(raw)
		if length == 0 || int64(length) > int64(len(raw)-4) {
			return n
		}
		if silent, ok := silences[raw[4]]; ok && options&silent == 0 {
			n++
		}
		raw = raw[4+length:]
	}
	return n
}
