package mail

import (
	"bytes"
	"errors"
	"io"
)

// lineBuffer is the longest piece of a line that is seen at once; boundaries and field names are
// much shorter.
const lineBuffer = 32 << 10

// lineReader cuts a stream into lines of any length, in pieces of at most lineBuffer, and counts offsets.
type lineReader struct {
	r   io.Reader
	buf []byte
	// buf[start:end] was read and not yet given out; err ended the stream.
	start, end int
	err        error
	// offset is that of buf[start] in the stream.
	offset int64
	nul    bool
	inLine bool
}

// piece is a line or a part of one. It is valid until the next call.
type piece struct {
	// text is without line end; eol is "\n", "\r\n", or empty when the line goes on or the stream ends.
	text, eol []byte
	// offset is that of text; first says that the line begins here.
	offset int64
	first  bool
}

func (l *lineReader) reset(r io.Reader, buf []byte) {
	*l = lineReader{r: r, buf: buf}
}

// next gives the next piece, or io.EOF, or the reader's error.
func (l *lineReader) next() (piece, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.start:l.end], '\n'); i >= 0 {
			return l.take(i + 1), nil
		}
		if l.err != nil {
			break
		}
		if l.end-l.start == len(l.buf) {
			n := l.end - l.start
			if l.buf[l.end-1] == '\r' { // perhaps half of a line end
				n--
			}
			return l.take(n), nil
		}
		l.fill()
	}
	if l.start < l.end {
		return l.take(l.end - l.start), nil
	}
	return piece{}, l.err
}

// take gives out n bytes, which end with the only LF in them if there is one.
func (l *lineReader) take(n int) piece {
	line := l.buf[l.start : l.start+n]
	p := piece{text: line, offset: l.offset, first: !l.inLine}
	if line[n-1] == '\n' {
		cut := n - 1
		if cut > 0 && line[cut-1] == '\r' {
			cut--
		}
		p.text, p.eol = line[:cut], line[cut:]
	}
	l.inLine = len(p.eol) == 0
	l.start += n
	l.offset += int64(n)
	return p
}

// fill reads once, after moving what is left to the front.
func (l *lineReader) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	// A reader that gives nothing for so long is broken (as bufio has it).
	for range 100 {
		n, err := l.r.Read(l.buf[l.end:])
		if n > 0 && !l.nul {
			l.nul = bytes.IndexByte(l.buf[l.end:l.end+n], 0) >= 0
		}
		l.end += n
		if l.err = err; n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

// failure is the error of the underlying reader, nil at the end of the stream.
func (l *lineReader) failure() error {
	if errors.Is(l.err, io.EOF) {
		return nil
	}
	return l.err
}
