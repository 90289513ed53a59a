package mail

import (
	"errors"
	"io"
	"slices"
)

// Decode undoes the part's content transfer encoding (RFC 2045, 6) on r, which yields the encoded body.
// It never fails on malformed input and gives exactly DecodedSize bytes: in base64, bytes outside the
// alphabet are skipped and "=" ends a group anywhere; in quoted-printable, an "=" that begins no escape
// stands for itself. Any other encoding is passed through. Errors come from r only.
func (p Part) Decode(r io.Reader) io.Reader {
	d := newTransfer(p.Encoding)
	if d == nil {
		return r
	}
	return &transferReader{r: r, d: d, in: make([]byte, 4<<10)}
}

// transfer decodes a stream piece by piece, appending to dst.
type transfer interface {
	decode(dst, src []byte) []byte
	// finish gives what was held back, at the end of the stream.
	finish(dst []byte) []byte
}

// newTransfer gives nil for encodings that leave the bytes as they are.
func newTransfer(encoding string) transfer {
	switch encoding {
	case "base64":
		return &base64Decoder{}
	case "quoted-printable":
		return &quotedDecoder{}
	default:
		return nil
	}
}

type transferReader struct {
	r       io.Reader
	d       transfer
	in, buf []byte
	out     []byte // the part of buf not yet given out
	err     error
}

func (t *transferReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 && t.err == nil && len(p) > 0 {
		n, err := t.r.Read(t.in)
		t.buf = t.d.decode(t.buf[:0], t.in[:n])
		if err != nil {
			t.err = err
			if errors.Is(err, io.EOF) {
				t.buf = t.d.finish(t.buf)
			}
		}
		t.out = t.buf
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, t.err
}

// Values of base64Values beside the 64 digits.
const (
	base64Skip = 0x80
	base64Pad  = 0x40
)

var base64Values = makeBase64Values()

func makeBase64Values() (t [256]byte) {
	for i := range t {
		t[i] = base64Skip
	}
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range digits {
		t[digits[i]] = byte(i)
	}
	t['='] = base64Pad
	return t
}

// base64Decoder reads groups of four digits, whatever stands between them.
type base64Decoder struct {
	bits uint32
	n    int
}

func (d *base64Decoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		if d.n == 0 {
			for i+4 <= len(src) { // four digits in a row, as nearly always
				a, b := base64Values[src[i]], base64Values[src[i+1]]
				c, e := base64Values[src[i+2]], base64Values[src[i+3]]
				if a|b|c|e >= base64Pad {
					break
				}
				dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
				i += 4
			}
			if i == len(src) {
				break
			}
		}
		switch v := base64Values[src[i]]; v {
		case base64Skip:
		case base64Pad:
			dst = d.finish(dst)
		default:
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
				d.bits, d.n = 0, 0
			}
		}
		i++
	}
	return dst
}

// finish gives the whole bytes of a group cut short.
func (d *base64Decoder) finish(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return dst
}

// maxBlank is how much white space before a line end quoted-printable drops (RFC 2045, 6.7 (3)); a longer
// run is taken for text, so that it need not be kept.
const maxBlank = 1000

// quotedDecoder reads quoted-printable. Held back are white space that may end the line, and "=" with
// what follows it.
type quotedDecoder struct {
	blank []byte
	held  []byte
}

func (d *quotedDecoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		if len(d.held) == 0 && len(d.blank) == 0 {
			n := plainQuoted(src[i:])
			dst = append(dst, src[i:i+n]...)
			if i += n; i == len(src) {
				break
			}
		}
		dst = d.step(dst, src[i])
		i++
	}
	return dst
}

// plainQuoted counts the bytes at the beginning of src that stand for themselves.
func plainQuoted(src []byte) int {
	for i, c := range src {
		if c == '=' || c == ' ' || c == '\t' {
			return i
		}
	}
	return len(src)
}

func (d *quotedDecoder) step(dst []byte, c byte) []byte {
	if len(d.held) > 0 {
		return d.escape(dst, c)
	}
	heldCR := len(d.blank) > 0 && d.blank[len(d.blank)-1] == '\r'
	switch c {
	case ' ', '\t':
		if heldCR || len(d.blank) >= maxBlank {
			dst = d.flushBlank(dst)
		}
		d.blank = append(d.blank, c)
		return dst
	case '\r':
		if len(d.blank) > 0 && !heldCR { // white space goes only if LF follows
			d.blank = append(d.blank, c)
			return dst
		}
	case '\n':
		d.blank = d.blank[:0]
		if heldCR {
			dst = append(dst, '\r')
		}
		return append(dst, c)
	case '=':
		d.held = append(d.held, c)
		return d.flushBlank(dst)
	}
	return append(d.flushBlank(dst), c)
}

func (d *quotedDecoder) flushBlank(dst []byte) []byte {
	dst = append(dst, d.blank...)
	d.blank = d.blank[:0]
	return dst
}

// escape goes on after "=": a soft line break, perhaps after white space, or two hexadecimal digits.
func (d *quotedDecoder) escape(dst []byte, c byte) []byte {
	first, last := d.held[len(d.held)-1] == '=', d.held[len(d.held)-1]
	digit := !first && isHex(last) // only ever the byte after "="
	switch {
	case c == '\n' && !digit:
		d.held = d.held[:0]
		return dst
	case digit && isHex(c):
		d.held = d.held[:0]
		return append(dst, unhex(last)<<4|unhex(c))
	case first && isHex(c),
		(c == ' ' || c == '\t' || c == '\r') && !digit && last != '\r' && len(d.held) < maxBlank:
		d.held = append(d.held, c)
		return dst
	}
	// No escape after all: "=" stands for itself, and the rest is looked at again.
	dst = append(dst, '=')
	rest := d.held[1:]
	if d.held = d.held[:0]; len(rest) > 0 {
		for _, c := range slices.Clone(rest) {
			dst = d.step(dst, c)
		}
	}
	return d.step(dst, c)
}

// finish drops white space at the end, which ended a line, and an "=" that broke one.
func (d *quotedDecoder) finish(dst []byte) []byte {
	if len(d.held) == 2 && isHex(d.held[1]) {
		dst = append(dst, d.held...)
	}
	if n := len(d.blank); n > 0 && d.blank[n-1] == '\r' {
		dst = append(dst, '\r')
	}
	d.held, d.blank = d.held[:0], d.blank[:0]
	return dst
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}
