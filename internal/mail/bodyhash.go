package mail

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// BodyHash is a SHA-256 of a message's body that does not see how many line ends there are at its end:
// trailing CRLFs count as one, a missing last one as there, and a body of nothing but CRLFs as empty
// (a little less than the "simple" body canonicalisation of RFC 6376, 3.4.3). Everything else counts byte
// by byte. It is an io.Writer that never fails and takes pieces of any length; not for use at once by
// several goroutines.
type BodyHash struct {
	sum hash.Hash
	// crlfs and cr are line ends seen but not yet hashed, because they may turn out to be the last.
	crlfs int
	cr    bool
	any   bool
	// header says that the blank line between header and body has not come yet; line is how much of
	// the current header line was seen, and lineCR that it began with CR.
	header bool
	line   int
	lineCR bool
}

// NewBodyHash hashes what is written as a body.
func NewBodyHash() *BodyHash { return &BodyHash{sum: sha256.New()} }

// NewMessageBodyHash hashes what follows the first empty line of a whole message with CRLF line ends.
func NewMessageBodyHash() *BodyHash { return &BodyHash{sum: sha256.New(), header: true} }

// Write takes the next piece. It always returns len(p), nil.
func (h *BodyHash) Write(p []byte) (int, error) {
	n := len(p)
	if h.header {
		p = h.skipHeader(p)
	}
	p = h.takeLineEnds(p)
	if len(p) == 0 {
		return n, nil
	}
	h.flush()
	body := p
	if bytes.HasSuffix(body, []byte("\r")) {
		body, h.cr = body[:len(body)-1], true
	}
	for bytes.HasSuffix(body, []byte("\r\n")) {
		body, h.crlfs = body[:len(body)-2], h.crlfs+1
	}
	h.hash(body)
	return n, nil
}

// Sum gives the digest of what was written so far; more may be written after it.
func (h *BodyHash) Sum() [32]byte {
	c := *h
	c.sum = cloneHash(h.sum)
	if c.cr {
		c.flush()
	}
	if c.any {
		c.hash([]byte("\r\n"))
	}
	return [32]byte(c.sum.Sum(nil))
}

// skipHeader gives what of p lies behind the header, nil while the header goes on.
func (h *BodyHash) skipHeader(p []byte) []byte {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			h.countHeader(p)
			return nil
		}
		h.countHeader(p[:i])
		empty := h.line == 0 || h.line == 1 && h.lineCR
		p, h.line = p[i+1:], 0
		if empty {
			h.header = false
			return p
		}
	}
	return nil
}

func (h *BodyHash) countHeader(line []byte) {
	if h.line == 0 && len(line) > 0 {
		h.lineCR = line[0] == '\r'
	}
	h.line += len(line)
}

// takeLineEnds counts the line ends at the beginning of p, together with a CR left from before, and
// gives what follows.
func (h *BodyHash) takeLineEnds(p []byte) []byte {
	for len(p) > 0 {
		switch {
		case h.cr && p[0] == '\n':
			h.cr, h.crlfs = false, h.crlfs+1
		case !h.cr && p[0] == '\r':
			h.cr = true
		default:
			return p
		}
		p = p[1:]
	}
	return p
}

// flush hashes the line ends that turned out not to be the last.
func (h *BodyHash) flush() {
	for ; h.crlfs > 0; h.crlfs-- {
		h.hash([]byte("\r\n"))
	}
	if h.cr {
		h.hash([]byte("\r"))
		h.cr = false
	}
}

func (h *BodyHash) hash(p []byte) {
	if len(p) > 0 {
		h.any = true
		h.sum.Write(p)
	}
}

// cloneHash copies a running SHA-256, which the standard library's always allows.
func cloneHash(h hash.Hash) hash.Hash {
	if c, ok := h.(hash.Cloner); ok {
		if clone, err := c.Clone(); err == nil {
			return clone
		}
	}
	panic("sha256 cannot be cloned")
}
