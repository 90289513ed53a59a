package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// dotReader reads the message of a DATA command (RFC 5321, 4.5.2) and gives the bytes as the sender had them:
// the dot that was put before lines beginning with a dot is taken away, nothing else changes. A line ends in
// CRLF only; a bare LF or CR is a byte like others, so that nobody can hide commands behind one.
// After the line that is a single dot it gives io.EOF; when the input ends before, io.ErrUnexpectedEOF.
type dotReader struct {
	r *bufio.Reader
	// rest is what was read and not yet given; it points into r.
	rest []byte
	// lineStart: the next byte is the first of a line. cr: the last one was a CR.
	lineStart, cr bool
	err           error
}

func newDotReader(r *bufio.Reader) *dotReader { return &dotReader{r: r, lineStart: true} }

// Read implements io.Reader.
func (d *dotReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(d.rest) == 0 {
			if n > 0 && d.r.Buffered() == 0 {
				return n, nil // rather than wait for the network
			}
			if d.fill(); d.err != nil {
				break
			}
		}
		m := copy(p[n:], d.rest)
		n, d.rest = n+m, d.rest[m:]
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, d.err
}

// fill reads the next line, or a piece of a long one, into rest.
func (d *dotReader) fill() {
	for len(d.rest) == 0 && d.err == nil {
		line, err := d.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			d.err = noEOF(err)
			return
		}
		if d.lineStart && line[0] == '.' {
			if string(line) == ".\r\n" {
				d.err = io.EOF
				return
			}
			line = line[1:]
		}
		d.take(line)
	}
}

// take makes line the rest, and notes how it ends.
func (d *dotReader) take(line []byte) {
	d.rest = line
	d.lineStart = bytes.HasSuffix(line, []byte("\r\n")) || string(line) == "\n" && d.cr
	d.cr = line[len(line)-1] == '\r'
}
