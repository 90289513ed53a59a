package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// pieceBytes is how much of an object is in memory at once.
const pieceBytes = 64 << 10

// openObject opens n bytes of a message's object from offset, all of which are as they were stored. blob.ErrDamaged when the object is
// another one; of a long one, whose pieces are compared one by one, also a reading may end with it.
func (s *Server) openObject(ctx context.Context, m *store.Message, offset, n int64) (io.ReadCloser, error) {
	want := blob.Want{Key: m.Key, SizeBytes: m.SizeBytes, Digest: m.Digest, Pieces: m.Pieces}
	r, err := s.objects.Open(ctx, want, offset, n)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	return r, nil
}

// outgoing are bytes of a message on their way to a client.
type outgoing struct {
	message *store.Message
	src     io.Reader
	// length is -1 when it is not known.
	length int64
	check  *checksum
}

// send copies to the client, piece by piece. begin sends the header, once the first piece is there: until
// then a failure is an orderly problem, afterwards it cuts the connection.
func (s *Server) send(c huma.Context, out outgoing, begin func()) {
	if f := factsOf(c.Context()); f != nil && f.head {
		begin()
		return
	}
	piece := make([]byte, out.pieceSize())
	for sent, ended := int64(0), false; !ended; {
		n, err := io.ReadFull(out.src, piece)
		if ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); ended {
			err = nil
			if out.length >= 0 && sent+int64(n) != out.length {
				err = fmt.Errorf("%w: ended after %d bytes", blob.ErrDamaged, sent+int64(n))
			}
		}
		if err == nil {
			err = out.check.add(piece[:n])
		}
		if err != nil {
			s.sendFailed(c, out.message, err, sent > 0)
			return
		}
		if sent == 0 {
			begin()
		}
		if w, ok := c.BodyWriter().(http.ResponseWriter); ok {
			extendWrite(w)
		}
		if _, err := c.BodyWriter().Write(piece[:n]); err != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
		sent += int64(n)
	}
}

// pieceSize is one byte more than a short object has, so that its end is seen at once.
func (o outgoing) pieceSize() int64 {
	if o.length < 0 {
		return pieceBytes
	}
	return min(pieceBytes, o.length+1)
}

// sendFailed tells the client, by a problem or by cutting the connection.
func (s *Server) sendFailed(c huma.Context, m *store.Message, err error, begun bool) {
	if c.Context().Err() == nil {
		s.bodyFailed(c.Context(), m, err)
	}
	if begun {
		panic(http.ErrAbortHandler)
	}
	s.refuse(c, bodyProblem())
}

// checksum follows a whole object on its way. nil checks nothing.
type checksum struct {
	sum  hash.Hash
	left int64
	want string
}

func newChecksum(m *store.Message) *checksum {
	return &checksum{sum: sha256.New(), left: m.SizeBytes, want: m.Digest}
}

// add takes the next piece; blob.ErrDamaged when it is the last one and the object is not what was stored.
func (c *checksum) add(piece []byte) error {
	if c == nil {
		return nil
	}
	c.sum.Write(piece)
	c.left -= int64(len(piece))
	if c.left == 0 && !strings.EqualFold(hex.EncodeToString(c.sum.Sum(nil)), c.want) {
		return blob.ErrDamaged
	}
	return nil
}
