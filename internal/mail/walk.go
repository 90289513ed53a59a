package mail

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
)

// walker reads the MIME structure (RFC 2046) of a stream, line by line, with a stack of open containers.
// The time it takes is linear in the stream: each line is looked at once, and compared with at most
// Limits.Depth boundaries.
type walker struct {
	lines   lineReader
	limits  Limits
	sum     *Summary
	defects defects
	state   walkState
	head    header
	stack   []container
	// left is what the summary may still grow by; full that a part was left out, and with it all later ones.
	left budget
	full bool
	// leaf is the index of the part whose body is read, -1 for none.
	leaf int
	// eol is the line end before the current piece: it belongs to a boundary that follows it.
	eol     []byte
	body    bodySink
	bareLF  bool
	bareCR  bool
	tooLong bool
}

type walkState int

const (
	inHeader walkState = iota
	inBody
	skipping // preamble, epilogue, what is beyond the limits
)

// container is an open multipart or message/rfc822.
type container struct {
	part int
	// boundary is empty for a message, and once the closing one was seen.
	boundary string
	// prefix and children make the ids of what is inside.
	prefix   string
	children int
	message  bool
	digest   bool
}

// walkers keeps buffers from one message for the next.
var walkers sync.Pool

func newWalker(r io.Reader, limits Limits) *walker {
	w, ok := walkers.Get().(*walker)
	if !ok {
		w = &walker{lines: lineReader{buf: make([]byte, lineBuffer)}}
	}
	w.lines.reset(r, w.lines.buf)
	w.limits, w.sum, w.defects = limits, &Summary{}, nil
	w.state, w.stack, w.leaf, w.eol = inHeader, w.stack[:0], -1, nil
	w.bareLF, w.bareCR, w.tooLong, w.full = false, false, false, false
	w.left = budget(limits.Bytes)
	w.head.reset(&w.defects)
	w.body.reset(limits)
	return w
}

// release gives the buffers back, without anything of the message.
func (w *walker) release() {
	w.sum, w.defects, w.lines.r, w.head.defects = nil, nil, nil, nil
	walkers.Put(w)
}

// walk reads all of the stream.
func (w *walker) walk() error {
	for {
		p, err := w.lines.next()
		if err != nil {
			break
		}
		w.check(p)
		if !w.boundary(p) {
			w.line(p)
		}
		w.eol = lineEnd(p.eol)
	}
	end := w.lines.offset
	if w.leaf >= 0 && end > w.sum.Parts[w.leaf].Offset {
		w.body.write(w.eol)
	}
	for w.state == inHeader { // more than once for a message inside a message without a body
		w.endHeader(end)
	}
	w.endLeaf(end)
	w.pop(0, end)
	w.sum.SizeBytes = end
	return w.lines.failure()
}

// lineEnd gives a copy of eol that outlives its buffer.
func lineEnd(eol []byte) []byte {
	switch len(eol) {
	case 1:
		return lf
	case 2:
		return crlf
	default:
		return nil
	}
}

var lf, crlf = []byte("\n"), []byte("\r\n")

// check notes what is wrong with a line as such.
func (w *walker) check(p piece) {
	if len(p.eol) == 1 && !w.bareLF {
		w.bareLF = true
		w.defects.add(DefectBareLF)
	}
	if !w.tooLong && (!p.first || len(p.text) > 998) {
		w.tooLong = true
		w.defects.add(DefectLongLine)
	}
	if !w.bareCR && bytes.IndexByte(p.text, '\r') >= 0 {
		w.bareCR = true
		w.defects.add(DefectBareCR)
	}
}

// line takes a piece that is no boundary.
func (w *walker) line(p piece) {
	switch w.state {
	case inBody:
		if p.offset > w.sum.Parts[w.leaf].Offset { // else the line end is that of the blank line
			w.body.write(w.eol)
		}
		w.body.write(p.text)
	case inHeader:
		switch w.head.add(p, w.limits) {
		case lineBlank:
			w.endHeader(p.offset + int64(len(p.eol)))
		case lineBody:
			if w.head.fields == 0 {
				w.defects.add(DefectNoHeader)
			} else {
				w.defects.add(DefectNoBlankLine)
			}
			w.endHeader(p.offset)
			w.line(p)
		}
	}
}

// boundary looks whether p is a boundary line of an open container, inner ones first, and acts on it. Like
// most readers, and unlike RFC 2046, 5.1.1, it wants the boundary to be the whole line: boundaries
// that begin like others are common.
func (w *walker) boundary(p piece) bool {
	if !p.first || len(p.text) < 3 || p.text[0] != '-' || p.text[1] != '-' || len(w.stack) == 0 {
		return false
	}
	text := bytes.TrimRight(p.text, " \t")[2:]
	if len(text) > maxBoundary+2 {
		return false
	}
	for i := len(w.stack) - 1; i >= 0; i-- {
		b := w.stack[i].boundary
		if b == "" || !bytes.HasPrefix(text, []byte(b)) {
			continue
		}
		switch string(text[len(b):]) {
		case "":
			w.delimit(i, p.offset)
			w.state = inHeader
			w.head.reset(&w.defects)
			if w.full || len(w.sum.Parts) >= w.limits.Parts {
				w.defects.add(DefectTooManyParts)
				w.state = skipping
			}
			return true
		case "--":
			w.delimit(i, p.offset)
			w.stack[i].boundary = ""
			return true
		}
	}
	return false
}

// delimit ends whatever is open inside the container at stack[i], before the boundary line at offset.
func (w *walker) delimit(i int, offset int64) {
	for w.state == inHeader {
		w.endHeader(offset)
	}
	end := offset - int64(len(w.eol))
	w.endLeaf(end)
	w.pop(i+1, end)
	w.state = skipping
}

// pop closes the containers from stack[from] on.
func (w *walker) pop(from int, end int64) {
	for i := len(w.stack) - 1; i >= from; i-- {
		c := &w.stack[i]
		if c.boundary != "" {
			w.defects.add(DefectUnclosed)
			if c.children == 0 {
				w.defects.add(DefectNoBoundary)
			}
		}
		p := &w.sum.Parts[c.part]
		p.Size = max(end-p.Offset, 0)
		p.DecodedSize = p.Size
	}
	w.stack = w.stack[:from]
}

// endLeaf closes the part whose body is read.
func (w *walker) endLeaf(end int64) {
	if w.leaf < 0 {
		return
	}
	p := &w.sum.Parts[w.leaf]
	p.Size = max(end-p.Offset, 0)
	p.DecodedSize = w.body.end(p.Size)
	if p.Encoding == "base64" {
		p.LineDigits = w.body.lines.end()
	}
	w.leaf = -1
}

// endHeader makes a part of the header just read; its body begins at offset.
func (w *walker) endHeader(offset int64) {
	root := len(w.sum.Parts) == 0
	if root {
		w.sum.HeaderBytes = offset
		w.fillHeader()
	}
	p, boundary := w.newPart(offset)
	multipart := strings.HasPrefix(p.Type, "multipart/")
	message := p.isMessage()
	encoded := message && newTransfer(p.Encoding) != nil
	nested := multipart && boundary != "" || message && !encoded
	if encoded {
		w.defects.add(DefectEncodedMessage)
	}
	if multipart && boundary == "" {
		w.defects.add(DefectNoBoundary)
	}
	full := len(w.sum.Parts)+1 >= w.limits.Parts
	if nested && (p.Depth >= w.limits.Depth || message && full) {
		w.defects.add(DefectTooDeep)
		nested = false
	}
	prefix := w.number(&p, multipart)
	if !w.left.takePart(p) && !root {
		w.defects.add(DefectTooManyParts)
		w.full, w.state = true, skipping
		return
	}
	w.sum.Parts = append(w.sum.Parts, p)
	index := len(w.sum.Parts) - 1
	switch {
	case nested && multipart:
		w.stack = append(w.stack, container{
			part: index, prefix: prefix, boundary: boundary, digest: p.Type == "multipart/digest",
		})
		w.state = skipping
	case nested:
		w.stack = append(w.stack, container{part: index, prefix: prefix, message: true})
		w.state = inHeader
		w.head.reset(&w.defects)
	default:
		w.state, w.leaf = inBody, index
		w.body.begin(&w.sum.Parts[index], w.inMessage())
	}
}

// fillHeader writes the header of the whole message into the summary, with half of the room there is.
func (w *walker) fillHeader() {
	half := w.left / 2
	w.left -= half
	w.head.fill(w.sum, w.limits, &half)
	w.left += half
}

// number gives p its section number (RFC 9051, 6.4.5) and returns the prefix of those inside it.
func (w *walker) number(p *Part, multipart bool) (prefix string) {
	if len(w.stack) == 0 {
		if multipart {
			return ""
		}
		p.ID = "1"
		return "1."
	}
	c := &w.stack[len(w.stack)-1]
	if c.message && multipart {
		p.ID = c.prefix + "TEXT"
		return c.prefix
	}
	c.children++
	p.ID = c.prefix + strconv.Itoa(c.children)
	return p.ID + "."
}

// inMessage reports whether the current entity is inside an attached message.
func (w *walker) inMessage() bool {
	for i := range w.stack {
		if w.stack[i].message {
			return true
		}
	}
	return false
}
