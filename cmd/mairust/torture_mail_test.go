package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
)

// tortureMailboxes are the local parts in example.test that take the mail of the torture tests.
var tortureMailboxes = []string{"u0", "u1", "u2", "u3"}

// parcel is one message of a torture test. All of it, every byte, follows from its id, and the envelope sender
// carries the id, so that even an object of no bytes but the Return-Path line says whose it is.
type parcel struct {
	id string
	// rcpts are as RCPT has them; several may be of one mailbox.
	rcpts []string
	// bodyBytes are the bytes of the body; nothing at all is sent when it is below zero.
	bodyBytes int
	// queued messages have our MTA's queue id in the topmost Received, so that they may be sent again.
	queued bool
	// chunked messages go by BDAT, and have lines that end as they like, or not at all.
	chunked bool
}

// weight is what kind of messages a sender sends.
type weight int

const (
	light  weight = iota // 0 bytes to 16 KB
	medium               // up to 512 KB
	heavy                // up to 4 MB
	huge                 // up to 16 MB: in parts, where the object store is S3
)

func newParcel(random *rand.Rand, id string, w weight) parcel {
	p := parcel{id: id, queued: random.IntN(3) > 0, chunked: random.IntN(3) == 0, rcpts: someRcpts(random)}
	switch w {
	case light:
		p.bodyBytes = random.IntN(1 << (4 + random.IntN(11)))
		if random.IntN(20) == 0 {
			p.bodyBytes, p.queued = -1, false
		}
	case medium:
		p.bodyBytes = random.IntN(1 << (14 + random.IntN(6)))
	case heavy:
		p.bodyBytes = random.IntN(1 << (19 + random.IntN(4)))
	case huge:
		p.bodyBytes = 6<<20 + random.IntN(10<<20)
	}
	return p
}

// someRcpts are one recipient, mostly; else up to four, of which two may be of one mailbox.
func someRcpts(random *rand.Rand) []string {
	n := 1
	if random.IntN(4) == 0 {
		n = 2 + random.IntN(3)
	}
	rcpts := make([]string, 0, n)
	for range n {
		local := tortureMailboxes[random.IntN(len(tortureMailboxes))]
		if len(rcpts) > 0 {
			local += fmt.Sprintf("+detail%d", len(rcpts))
		}
		rcpts = append(rcpts, local+"@example.test")
	}
	return rcpts
}

// mailboxOf is the mailbox that takes mail for rcpt.
func mailboxOf(rcpt string) string {
	local, domain, _ := strings.Cut(rcpt, "@")
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}

// mailboxes are those that must have the message, each once.
func (p parcel) mailboxes() []string {
	var all []string
	for _, rcpt := range p.rcpts {
		if m := mailboxOf(rcpt); !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

func (p parcel) sender() string { return p.id + "@sender.test" }

// message is what is sent.
func (p parcel) message() []byte {
	if p.bodyBytes < 0 {
		return nil
	}
	var b bytes.Buffer
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(p.id)) // never fails
	random := rand.New(rand.NewPCG(hash.Sum64(), 0))
	if p.queued {
		fmt.Fprintf(&b, "Received: from client.sender.test (client.sender.test [192.0.2.25])\r\n"+
			"\tby mx.example.test (Postfix) with ESMTP id %X\r\n\tfor <u@example.test>; Sun, 22 Nov 2026 10:00:00 +0900 (JST)\r\n", hash.Sum64())
	}
	fmt.Fprintf(&b, "Subject: %s\r\n\r\n", p.id)
	var line [96]byte
	for end := b.Len() + p.bodyBytes; b.Len() < end; {
		for i := 0; i < len(line)/2; i += 4 {
			n := random.Uint32()
			hex.Encode(line[2*i:], []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
		}
		b.Write(line[:min(int(random.Uint32()%uint32(len(line))), end-b.Len())])
		b.WriteString(p.lineEnd(random))
	}
	return b.Bytes()
}

// lineEnd ends a line, and may begin the next: with a dot, with bytes of other charsets.
func (p parcel) lineEnd(random *rand.Rand) string {
	ends := []string{"\r\n", "\r\n", "\r\n.", "\r\n..\r\n", "\r\n\xe6\x97\xa5\x8e"}
	if p.chunked {
		ends = append(ends, "\n", "\r", "\x00", "\n.\n")
	}
	return ends[random.IntN(len(ends))]
}

// object is what must be stored of a message. DATA cannot say that the last line does not end, so it is ended.
func (p parcel) object(message []byte) []byte {
	object := append([]byte("Return-Path: <"+p.sender()+">\r\n"), message...)
	if !p.chunked && !bytes.HasSuffix(object, []byte("\r\n")) {
		object = append(object, "\r\n"...)
	}
	return object
}

// throughIMAP is what IMAP makes of an object: it cannot carry NUL (docs/imap.md).
func throughIMAP(object []byte) []byte { return bytes.ReplaceAll(object, []byte{0}, []byte{0x80}) }

// idOfSender is the id in an envelope sender; "" when it is no parcel's.
func idOfSender(sender string) string {
	id, found := strings.CutSuffix(sender, "@sender.test")
	if !found {
		return ""
	}
	return id
}

// idOfObject is the id in an object's Return-Path line.
func idOfObject(object []byte) string {
	line, _, _ := bytes.Cut(object, []byte(">\r\n"))
	sender, _ := strings.CutPrefix(string(line), "Return-Path: <")
	return idOfSender(sender)
}
