package lmtp

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
)

// errGivenUp ends a message that came in chunks and was abandoned: the client said something else than BDAT.
var errGivenUp = errors.New("message was given up between chunks")

// chunkReader reads a message that comes in BDAT chunks (RFC 3030), of which the first command has been read.
// It answers each chunk but the last, whose replies are those to the message. NOOP is answered too; any other
// command gives the message up (errGivenUp, once, then io.EOF) and is left for the wire to handle.
type chunkReader struct {
	w    *wire
	left uint64
	last bool
}

// Read implements io.Reader. The end of the input within a chunk is an error, not the end of the message.
func (c *chunkReader) Read(p []byte) (int, error) {
	for c.left == 0 {
		if c.last {
			return 0, io.EOF
		}
		if err := c.w.say("250 2.0.0 Continue"); err != nil {
			return 0, err
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n, err := c.w.in.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	return n, noEOF(err)
}

// next reads commands up to a BDAT.
func (c *chunkReader) next() error {
	for {
		line, err := c.w.readLine()
		if err != nil {
			return noEOF(err)
		}
		verb, argument := splitCommand(strings.TrimRight(string(line), "\r\n"))
		if verb == "NOOP" {
			if err := c.w.say("250 2.0.0 I have successfully done nothing"); err != nil {
				return err
			}
			continue
		}
		size, last, ok := parseChunk(argument)
		if verb == "BDAT" && ok {
			c.left, c.last = size, last
			return nil
		}
		// The replies to the message that go-smtp is going to give are nobody's.
		c.last, c.w.pending, c.w.mute = true, line, true
		return errGivenUp
	}
}

// skipRefusedChunk reads what follows a BDAT that was refused: the chunk comes all the same, and has the time of a message. A closing
// server does not wait for it.
func (w *wire) skipRefusedChunk() error {
	if w.chunks == nil {
		return nil
	}
	size := w.chunks.left
	w.chunks = nil
	w.startSkipping()
	_, err := io.CopyN(io.Discard, w.in, int64(size)) // of 32 bits
	if leaving := w.stopSkipping(); leaving && errors.Is(err, os.ErrDeadlineExceeded) {
		return w.sayGoodbye()
	}
	return noEOF(err)
}

// parseChunk reads the argument of BDAT (RFC 3030, 2). A chunk has at most 4 GiB.
func parseChunk(argument string) (size uint64, last, ok bool) {
	args := strings.Fields(argument)
	if len(args) == 0 || len(args) > 2 {
		return 0, false, false
	}
	last = len(args) == 2
	if last && !strings.EqualFold(args[1], "LAST") {
		return 0, false, false
	}
	size, err := strconv.ParseUint(args[0], 10, 32)
	return size, last, err == nil
}

// noEOF makes the end of the input an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
