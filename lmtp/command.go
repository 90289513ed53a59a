package lmtp

import (
	"io"
	"strings"
)

// Lines that go-smtp is given in place of others.
var (
	badCommand  = []byte("?\r\n") // answered with "501 5.5.2 Bad command"
	dataCommand = []byte("DATA\r\n")
)

// translate notes what a command line means for the wire, and gives the line that go-smtp shall see.
func (w *wire) translate(line []byte) ([]byte, error) {
	text := strings.TrimRight(string(line), "\r\n")
	// Nothing in a command may be a control character, a bare CR least of all: parts of it are repeated in
	// replies and stored as Return-Path.
	if strings.ContainsFunc(text, isControl) {
		return badCommand, nil
	}
	verb, argument := splitCommand(text)
	switch {
	case strings.HasPrefix(verb, "STARTTLS") && w.front.tls != nil && !w.secured: // as go-smtp recognises it
		return nil, w.startTLS()
	case verb == "BDAT":
		return w.translateChunk(argument)
	}
	return line, nil
}

// translateChunk makes DATA of the first BDAT of a message. After one that cannot be read nobody knows where the
// chunk ends and commands begin, so the connection ends.
func (w *wire) translateChunk(argument string) ([]byte, error) {
	size, last, ok := parseChunk(argument)
	if !ok {
		if err := w.say("501 5.5.4 Malformed BDAT, closing connection"); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	w.chunks = &chunkReader{w: w, left: size, last: last}
	return dataCommand, nil
}

// splitCommand gives the verb in upper case and the rest.
func splitCommand(text string) (verb, argument string) {
	verb, argument, _ = strings.Cut(text, " ")
	return strings.ToUpper(verb), argument
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
