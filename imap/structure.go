package imap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
)

// Bounds of what is kept of one message. What is beyond them is text of the part it stands in.
const (
	maxDepth       = 100
	maxParts       = 10_000
	maxHeaderBytes = 1 << 20
	maxBoundary    = 1000
)

// part is a MIME entity: where it is in the object, and what its header says of it.
type part struct {
	// header, body and end are offsets in the object: of the header, of what follows its blank line, and of what
	// follows the body.
	header, body, end int64
	// lines are the line ends in the body.
	lines int64
	kind  partKind
	mimeFields
	// envelope is set for the message in a message/rfc822 part.
	envelope *envelope
	// keptBytes is the length of the header fields that all of that was read from.
	keptBytes int64
	// children are the parts of a multipart; the only one of a message/rfc822 part is the message in it.
	children []*part
}

type partKind int

const (
	leaf partKind = iota
	multipart
	message
)

// openPart is a part whose end was not seen yet.
type openPart struct {
	*part
	inHeader bool
	raw      []byte
	// boundary of a multipart, until its closing one was seen.
	boundary string
	// linesBefore is how many line ends stand before the body.
	linesBefore int64
}

// structurer reads a message once, line by line, in bounded memory.
type structurer struct {
	open  []*openPart
	parts int
	// offset and lines are what was read; newline is the length of the last line's end.
	offset, lines, newline int64
}

var structureReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// readStructure reads the MIME structure of a message.
func readStructure(r io.Reader) (*part, error) {
	br, _ := structureReaders.Get().(*bufio.Reader)
	br.Reset(r)
	defer func() {
		br.Reset(nil)
		structureReaders.Put(br)
	}()
	s := &structurer{}
	root := s.begin(nil)
	for lineStart := true; ; {
		piece, err := br.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		s.piece(piece, lineStart)
		lineStart = err == nil
		if errors.Is(err, io.EOF) {
			break
		}
	}
	s.dropEmpty()
	s.closeAbove(-1, 0)
	return root.part, nil
}

func (s *structurer) begin(parent *openPart) *openPart {
	p := &openPart{part: &part{header: s.offset}, inHeader: true}
	if parent != nil {
		parent.children = append(parent.children, p.part)
	}
	s.open = append(s.open, p)
	s.parts++
	return p
}

func (s *structurer) top() *openPart { return s.open[len(s.open)-1] }

// piece takes a line, or a part of one that is very long.
func (s *structurer) piece(b []byte, lineStart bool) {
	if len(b) == 0 {
		return
	}
	if lineStart {
		if i, closing := s.findBoundary(b); i >= 0 {
			s.boundary(i, closing, int64(len(b)), newlineOf(b))
			return
		}
	}
	s.offset += int64(len(b))
	s.newline = newlineOf(b)
	if s.newline > 0 {
		s.lines++
	}
	top := s.top()
	if !top.inHeader {
		return
	}
	if len(top.raw)+len(b) <= maxHeaderBytes {
		top.raw = append(top.raw, b...)
	}
	if lineStart && s.newline == int64(len(b)) {
		s.headerDone(top)
	}
}

func newlineOf(b []byte) int64 {
	switch {
	case bytes.HasSuffix(b, []byte("\r\n")):
		return 2
	case bytes.HasSuffix(b, []byte("\n")):
		return 1
	}
	return 0
}

// findBoundary says which open multipart a line is a boundary of, -1 for none. The longest one that the line begins with
// counts, of equal ones the innermost.
func (s *structurer) findBoundary(line []byte) (index int, closing bool) {
	index = -1
	text, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok || s.parts >= maxParts {
		return -1, false
	}
	text = bytes.TrimRight(text, "\r\n")
	for i := len(s.open) - 1; i >= 0; i-- {
		b := s.open[i].boundary
		if b != "" && (index < 0 || len(b) > len(s.open[index].boundary)) && len(text) >= len(b) && string(text[:len(b)]) == b {
			index = i
		}
	}
	if index < 0 {
		return -1, false
	}
	return index, bytes.HasPrefix(text[len(s.open[index].boundary):], []byte("--"))
}

// boundary ends what is open inside the multipart, and begins its next part or its epilogue.
func (s *structurer) boundary(index int, closing bool, length, newline int64) {
	s.closeAbove(index, s.newline)
	s.offset += length
	s.newline = newline
	if newline > 0 {
		s.lines++
	}
	if closing {
		s.top().boundary = ""
		s.newline = 0 // it belongs to this boundary, not to one that may follow
		return
	}
	s.begin(s.top())
}

// dropEmpty forgets a part that began with the last line of the message, when that has no end.
func (s *structurer) dropEmpty() {
	p := s.top()
	if len(s.open) == 1 || !p.inHeader || p.header != s.offset || s.newline > 0 {
		return
	}
	if parent := s.open[len(s.open)-2]; parent.kind == multipart {
		parent.children = parent.children[:len(parent.children)-1]
		s.open = s.open[:len(s.open)-1]
	}
}

// closeAbove ends all open parts inside that of index. The line end before a boundary belongs to the boundary, but
// not when it ends a header.
func (s *structurer) closeAbove(index int, newline int64) {
	if top := s.top(); top.inHeader || top.body == s.offset {
		newline = 0
	}
	for len(s.open) > index+1 {
		p := s.top()
		if p.inHeader {
			s.headerEnds(p)
			p.seal()
		}
		p.end, p.lines = s.offset, s.lines-p.linesBefore
		if newline > 0 {
			p.end -= newline
			p.lines--
		}
		s.open = s.open[:len(s.open)-1]
	}
}

// headerEnds notes where a header ended, and what it says.
func (s *structurer) headerEnds(p *openPart) {
	p.inHeader = false
	p.body, p.linesBefore = s.offset, s.lines
	fields := splitHeader(string(p.raw))
	p.raw = nil
	inDigest, inMessage := false, false
	if n := len(s.open); n > 1 {
		parent := s.open[n-2]
		inMessage = parent.kind == message
		inDigest = parent.kind == multipart && strings.EqualFold(parent.subtype, "digest")
	}
	kept, sizeBytes := keep(fields)
	p.keptBytes = sizeBytes
	p.mimeFields = readMIME(kept)
	if isMessage := inMessage || len(s.open) == 1; isMessage && !p.typed && !isMIME(fields) {
		p.mimeFields = mimeFields{} // the fields of an entity mean nothing in a message from before MIME
	}
	if inMessage {
		p.envelope = readEnvelope(kept)
	}
	if !p.typed && inDigest {
		p.typ, p.subtype, p.typed = "message", "rfc822", true
	}
	p.kind = p.mimeFields.kind()
}

// keep copies the fields that a structure is made of, and tells how long they are: else what is cached would hold the whole
// header in memory, a megabyte perhaps.
func keep(fields []field) (kept []field, sizeBytes int64) {
	for _, f := range fields {
		switch name := strings.ToLower(f.name); name {
		case "from", "sender", "reply-to", "to", "cc", "bcc", "date", "subject", "in-reply-to", "message-id":
		default:
			if !strings.HasPrefix(name, "content-") {
				continue
			}
		}
		f.value = strings.Clone(f.value)
		kept, sizeBytes = append(kept, f), sizeBytes+int64(len(f.value))
	}
	return kept, sizeBytes
}

// seal makes sure that an attached message has a message in it, though none will be read.
func (p *openPart) seal() {
	if p.kind == message {
		p.children = []*part{{header: p.body, body: p.body, end: p.body, envelope: &envelope{}}}
	}
}

// headerDone goes on into the body.
func (s *structurer) headerDone(p *openPart) {
	s.headerEnds(p)
	switch {
	case len(s.open) >= maxDepth || s.parts >= maxParts:
		p.seal()
	case p.kind == multipart:
		p.boundary, _ = get(p.params, "boundary")
		p.boundary = p.boundary[:min(len(p.boundary), maxBoundary)]
	case p.kind == message:
		s.begin(p)
	}
}
