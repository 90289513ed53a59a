package lmtp

import (
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// Lines that go-smtp is given in place of others.
var (
	badCommand  = []byte("?\r\n") // answered with "501 5.5.2 Bad command"
	dataCommand = []byte("DATA\r\n")
)

// translate notes what a command line means for the wire, and gives the line that go-smtp shall see.
func (w *wire) translate(line []byte) ([]byte, error) {
	text := strings.TrimRight(string(line), "\r\n")
	verb, argument := splitCommand(text)
	w.verb = verb
	if verb == "MAIL" || verb == "RCPT" {
		text = w.translatePath(verb, argument)
		line = []byte(text + "\r\n")
	}
	// Nothing in a command may be a control character, a bare CR least of all: parts of it are repeated in
	// replies.
	if strings.ContainsFunc(text, isControl) {
		return badCommand, nil
	}
	switch {
	case strings.HasPrefix(verb, "STARTTLS") && w.front.tls != nil && !w.secured: // as go-smtp recognises it
		return nil, w.startTLS()
	case verb == "BDAT":
		return w.translateChunk(argument)
	}
	return line, nil
}

// oddPath stands for a path that go-smtp can't read, or must not repeat in a reply.
const oddPath = "odd.address@invalid"

// translatePath keeps the path of MAIL or RCPT for the session, and gives the command that go-smtp shall see.
// go-smtp refuses for good what is no address to it, and our MTA, which has taken the message, would bounce
// it: the path is data here.
func (w *wire) translatePath(verb, argument string) string {
	preposition, rest, _ := strings.Cut(argument, ":")
	path, params, ok := cutPath(strings.TrimLeft(rest, " \t"))
	if !ok {
		return verb + " " + argument // which go-smtp can't read either
	}
	w.path = path
	if _, err := mail.ParseAddress("<" + path + ">"); err != nil {
		path = oddPath
	}
	return verb + " " + preposition + ":<" + path + ">" + knownSize(params)
}

// knownSize makes of a SIZE (RFC 1870) above 32 bits, which go-smtp refuses for good, the greatest it knows.
func knownSize(params string) string {
	fields := strings.Fields(params)
	for i, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		if !strings.EqualFold(name, "SIZE") {
			continue
		}
		if _, err := strconv.ParseUint(value, 10, 32); errors.Is(err, strconv.ErrRange) {
			fields[i] = name + "=" + strconv.Itoa(math.MaxUint32)
			return " " + strings.Join(fields, " ")
		}
	}
	return params
}

// cutPath gives the path without its angle brackets, and what follows it. Without brackets it ends at a space.
func cutPath(s string) (path, params string, ok bool) {
	if !strings.HasPrefix(s, "<") {
		path, params, ok = strings.Cut(s, " ")
		if ok {
			params = " " + params
		}
		return path, params, path != ""
	}
	end := strings.LastIndexByte(s, '>') // of what has a quote that is not closed
	quoted := false
scan:
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			end = i
			break scan
		}
	}
	if end < 0 {
		return "", "", false
	}
	return s[1:end], s[end+1:], true
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
