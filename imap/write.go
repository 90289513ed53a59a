package imap

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

var errBufferFull = bufio.ErrBufferFull

// writer writes responses. Its first error stays until flush, as bufio's does. It has a buffer only while there is
// something to send: idle connections have none.
type writer struct {
	to countingWriter
	bw *bufio.Writer
}

// writerBytes is the size of a buffer: many small responses go out together.
const writerBytes = 32 << 10

var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writerBytes) }}

// newWriter makes a writer to nc that calls before and after each piece it sends, to set deadlines.
func newWriter(nc net.Conn, before, after func() error, sent prometheus.Counter) *writer {
	return &writer{to: countingWriter{w: nc, before: before, after: after, sent: sent}}
}

// reset goes on with another connection; nothing may be left to send.
func (w *writer) reset(nc net.Conn) { w.to.w = nc }

// broken says whether something could not be sent. Then nothing more is: the client would take it for the rest.
func (w *writer) broken() bool { return w.to.failed.Load() }

// countingWriter sends in pieces of which each has a deadline of its own.
type countingWriter struct {
	w             io.Writer
	before, after func() error
	sent          prometheus.Counter
	err           error
	failed        atomic.Bool // err is set
}

// Write implements io.Writer. Its first error stays.
func (w *countingWriter) Write(b []byte) (n int, err error) {
	for n < len(b) && w.err == nil {
		var sent int
		if w.err = w.before(); w.err == nil {
			sent, w.err = w.w.Write(b[n:min(n+writerBytes, len(b))])
		}
		if w.err == nil {
			w.err = w.after()
		}
		n += sent
		w.sent.Add(float64(sent))
	}
	w.failed.Store(w.err != nil)
	return n, w.err
}

func (w *writer) buffer() *bufio.Writer {
	if w.bw == nil {
		w.bw, _ = writers.Get().(*bufio.Writer)
		w.bw.Reset(&w.to)
	}
	return w.bw
}

// flush sends everything, and gives the buffer back.
func (w *writer) flush() error {
	if w.bw == nil {
		return nil
	}
	err := w.bw.Flush()
	w.bw.Reset(nil)
	writers.Put(w.bw)
	w.bw = nil
	return err
}

// text writes parts as they are.
func (w *writer) text(parts ...string) {
	for _, s := range parts {
		_, _ = w.buffer().WriteString(s) // kept until flush
	}
}

// line writes parts and a line end.
func (w *writer) line(parts ...string) {
	w.text(parts...)
	w.text("\r\n")
}

func (w *writer) number(n int64) {
	var b [20]byte
	_, _ = w.buffer().Write(strconv.AppendInt(b[:0], n, 10)) // kept until flush
}

// copyBuffers are for streaming bodies; they are not kept by idle connections.
var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 64<<10)
	return &b
}}

// literal streams n bytes from r as a literal. An error of r after the literal has begun cannot be told to the
// client; the caller must close the connection then.
func (w *writer) literal(r io.Reader, n int64) error {
	w.text("{")
	w.number(n)
	w.text("}\r\n")
	buffer, _ := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	copied, err := io.CopyBuffer(onlyWriter{w.buffer()}, withoutNUL{io.LimitReader(r, n)}, *buffer)
	if err == nil && copied < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// withoutNUL puts 0x80 in place of NUL, which a literal must not have (RFC 9051, 4.3); Dovecot does the same.
type withoutNUL struct{ r io.Reader }

func (r withoutNUL) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	for rest := b[:n]; ; {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return n, err
		}
		rest[i] = noNUL
		rest = rest[i+1:]
	}
}

// onlyWriter hides bufio's ReadFrom, which would copy by its own small buffer.
type onlyWriter struct{ io.Writer }

// noNUL stands for NUL.
const noNUL = 0x80

// appendString writes s as a quoted string, or as a literal when it cannot be one (RFC 9051, 4.3).
func appendString(b []byte, s string) []byte {
	if !quotable(s) {
		b = append(b, '{')
		b = strconv.AppendInt(b, int64(len(s)), 10)
		b = append(b, "}\r\n"...)
		return append(b, strings.ReplaceAll(s, "\x00", string([]byte{noNUL}))...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// quotable: long strings and 8-bit ones go as literals, for clients that mind.
func quotable(s string) bool {
	if len(s) > 1000 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c == 0 || c == '\r' || c == '\n' || c >= 0x80 {
			return false
		}
	}
	return true
}

// appendName writes the name of a mailbox.
func appendName(b []byte, name string) []byte {
	if name == "INBOX" {
		return append(b, name...)
	}
	return appendString(b, encodeUTF7(name))
}

// number2 writes a number between two texts; one that ends in a letter ends the line.
func (w *writer) number2(before string, n int64, after string) {
	w.text(before)
	w.number(n)
	w.text(after)
	if after[len(after)-1] != ' ' {
		w.text("\r\n")
	}
}
