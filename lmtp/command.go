package lmtp

import "strings"

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
		if size, last, ok := parseChunk(argument); ok {
			w.chunks = &chunkReader{w: w, left: size, last: last}
			return dataCommand, nil
		}
	}
	return line, nil // go-smtp refuses a BDAT that cannot be read, and no chunk follows
}

// splitCommand gives the verb in upper case and the rest.
func splitCommand(text string) (verb, argument string) {
	verb, argument, _ = strings.Cut(text, " ")
	return strings.ToUpper(verb), argument
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
