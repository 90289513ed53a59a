package lmtp

import (
	"bytes"
	"strconv"
	"strings"
)

// Lines that go-smtp is given in place of others.
var (
	badCommand = []byte("?\r\n") // answered with "501 5.5.2 Bad command"
	noCommand  = []byte("NOOP\r\n")
)

// translate notes what a command line means for the wire, and gives the line that go-smtp shall see.
func (w *wire) translate(line []byte) ([]byte, error) {
	text := strings.TrimRight(string(line), "\r\n")
	// Nothing in a command may be a control character, a bare CR least of all: parts of it are repeated in
	// replies and stored as Return-Path.
	if strings.ContainsFunc(text, isControl) {
		return badCommand, nil
	}
	verb, argument, _ := strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	switch {
	case strings.HasPrefix(verb, "STARTTLS") && w.front.tls != nil && !w.secured: // as go-smtp recognises it
		return nil, w.startTLS()
	case verb != "BDAT":
		return bytes.Clone(line), nil
	}
	size, last, ok := parseChunk(argument)
	if ok && size == 0 && !last {
		// Nothing to transfer. go-smtp would start a transfer all the same, which races with the next command.
		return noCommand, nil
	}
	if ok && size > 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.phase, w.chunk = inChunk, size
		w.startMessage()
	}
	return bytes.Clone(line), nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// parseChunk reads the argument of BDAT (RFC 3030, 2) exactly as go-smtp does: what it refuses has no chunk.
func parseChunk(argument string) (size uint64, last, ok bool) {
	args := strings.Fields(argument)
	if len(args) == 0 || len(args) > 2 {
		return 0, false, false
	}
	last = len(args) == 2
	if last && !strings.EqualFold(args[1], "LAST") {
		return 0, false, false
	}
	size, err := strconv.ParseUint(args[0], 10, 32)
	return size, last, err == nil
}
