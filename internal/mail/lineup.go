package mail

// evenLines finds out whether all lines of a base64 body have as many digits, so that what lies at an offset of the decoded
// part can be found without decoding what comes before.
type evenLines struct {
	// digits is how many the first line has; 0 before its end.
	digits int
	// chars and decoded are of the line that is being read.
	chars, decoded int
	// last says that a line has ended which is not like the first; nothing may come after it.
	last, uneven bool
}

// add takes a piece of a line, or the end of one, and how many bytes it has decoded to.
func (e *evenLines) add(p []byte, decoded int) {
	switch {
	case len(p) > 0 && p[len(p)-1] == '\n':
		e.endLine()
		e.uneven = e.uneven || len(p) == 1 // a bare LF: other lines may have CRLF
	default:
		e.chars += len(p)
		e.decoded += decoded
	}
}

func (e *evenLines) endLine() {
	// Fewer bytes than that come from a line with anything but digits in it.
	full := e.chars > 0 && e.chars%4 == 0 && e.decoded == e.chars/4*3
	switch {
	case e.last:
		e.uneven = e.uneven || e.chars > 0 // fewer than four digits decode to nothing yet
	case full && e.digits == 0:
		e.digits = e.chars
	case !full || e.chars != e.digits:
		e.last = true
		e.uneven = e.uneven || e.chars > e.digits
	}
	e.chars, e.decoded = 0, 0
}

// end gives the digits of each line, 0 when they differ.
func (e *evenLines) end() int {
	e.endLine()
	if e.uneven {
		return 0
	}
	return e.digits
}

// Lookup says where in the encoded body decoding may begin for what lies at offset (0 to DecodedSize) of the decoded part, and
// how many decoded bytes come before it then. Where it is not known, that is the beginning.
func (p Part) Lookup(offset int64) (encoded, before int64) {
	if p.Encoding != "base64" || p.LineDigits <= 0 {
		return 0, offset
	}
	perLine := int64(p.LineDigits / 4 * 3)
	lines := offset / perLine
	if lines > 0 && lines*perLine == p.DecodedSize {
		lines-- // the end, where no line begins
	}
	return lines * int64(p.LineDigits+len(crlf)), offset - lines*perLine
}
