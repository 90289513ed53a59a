package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/store"
)

// errCorrupt says that an object is not what was stored.
var errCorrupt = errors.New("object differs from its digest or size")

// pieceBytes is how much of an object is in memory at once.
const pieceBytes = 64 << 10

type rawInput struct {
	OneMessage
	Range       string `header:"Range" doc:"One byte range (RFC 9110)."`
	IfRange     string `header:"If-Range"`
	IfNoneMatch string `header:"If-None-Match"`
}

// stream answers with the bytes that write gives, instead of JSON.
type stream struct {
	Body func(huma.Context)
}

// binaryResponses describes a stream to OpenAPI.
func binaryResponses(contentType string, statuses ...int) map[string]*huma.Response {
	out := map[string]*huma.Response{}
	for _, status := range statuses {
		out[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}
	}
	return out
}

func (s *Server) raw(ctx context.Context, in *rawInput) (*stream, error) {
	m, err := s.readable(ctx, &in.OneMessage)
	if err != nil {
		return nil, err
	}
	etag := `"` + m.Digest + `"`
	if notModified(in.IfNoneMatch, etag) {
		return &stream{Body: func(c huma.Context) {
			c.SetHeader("ETag", etag)
			c.SetStatus(http.StatusNotModified)
		}}, nil
	}
	part, ok := parseRange(wantedRange(in.Range, in.IfRange, etag), m.SizeBytes)
	if !ok {
		p := newProblem(codeRange)
		p.header = http.Header{"Content-Range": {"bytes */" + strconv.FormatInt(m.SizeBytes, 10)}}
		return nil, p
	}
	return &stream{Body: func(c huma.Context) { s.sendObject(c, m, part, etag) }}, nil
}

// sendObject streams a part of the object. Of the whole object the digest is checked, with the last piece
// held back until it is known to be right: what is corrupt is never served as good.
func (s *Server) sendObject(c huma.Context, m *store.Message, part span, etag string) {
	ctx := c.Context()
	r, err := s.openObject(ctx, m, part.offset, part.length)
	if err != nil {
		s.bodyFailed(ctx, m, err)
		s.refuse(c, bodyProblem())
		return
	}
	defer func() { _ = r.Close() }() // it was only read
	var src io.Reader = r
	if part.length == m.SizeBytes {
		src = &checkedReader{r: r, hash: sha256.New(), digest: m.Digest}
	}
	s.stream(c, m, src, part.length, func() {
		c.SetHeader("Content-Type", "message/rfc822")
		c.SetHeader("Content-Disposition", contentDisposition(string(m.ID)+".eml"))
		c.SetHeader("Content-Security-Policy", "sandbox; default-src 'none'")
		c.SetHeader("ETag", etag)
		c.SetHeader("Accept-Ranges", "bytes")
		c.SetHeader("Content-Length", strconv.FormatInt(part.length, 10))
		if part.partial {
			c.SetHeader("Content-Range", part.contentRange(m.SizeBytes))
		}
		c.SetStatus(part.status())
	})
}

// openObject opens n bytes of a message's object from offset; errCorrupt when it has another size.
func (s *Server) openObject(ctx context.Context, m *store.Message, offset, n int64) (io.ReadCloser, error) {
	r, info, err := s.d.Objects.Get(ctx, m.Key, offset, n)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if info.SizeBytes != m.SizeBytes {
		return nil, errors.Join(fmt.Errorf("%w: %d bytes instead of %d", errCorrupt, info.SizeBytes, m.SizeBytes), r.Close())
	}
	return r, nil
}

// stream copies src to the client. begin sends the header, once the first piece is there: until then a
// failure is an orderly problem, afterwards it cuts the connection. length -1 means whatever comes.
func (s *Server) stream(c huma.Context, m *store.Message, src io.Reader, length int64, begin func()) {
	ctx := c.Context()
	if f := factsOf(ctx); f != nil && f.head {
		begin()
		return
	}
	piece := make([]byte, pieceBytes)
	sent, begun := int64(0), false
	for {
		n, err := io.ReadFull(src, piece)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if ended && length >= 0 && sent+int64(n) != length {
			err, ended = fmt.Errorf("%w: ended after %d bytes", errCorrupt, sent+int64(n)), false
		}
		if err != nil && !ended {
			s.streamFailed(c, m, err, begun)
			return
		}
		if !begun {
			begin()
			begun = true
		}
		if w, ok := c.BodyWriter().(http.ResponseWriter); ok {
			extendWrite(w)
		}
		if _, err := c.BodyWriter().Write(piece[:n]); err != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
		if sent += int64(n); ended {
			return
		}
	}
}

// streamFailed tells the client, by a problem or by cutting the connection.
func (s *Server) streamFailed(c huma.Context, m *store.Message, err error, begun bool) {
	if c.Context().Err() == nil {
		s.bodyFailed(c.Context(), m, err)
	}
	if begun {
		panic(http.ErrAbortHandler)
	}
	s.refuse(c, bodyProblem())
}

// checkedReader gives the end of the stream only if the digest of all of it is right. It holds back the
// last byte until then, so that nobody takes a corrupt object for whole.
type checkedReader struct {
	r      io.Reader
	hash   hash.Hash
	digest string
	held   []byte
	buf    bytes.Buffer
	err    error
}

// Read gives bytes that were hashed, always one behind what was read.
func (c *checkedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.buf.Len() == 0 && c.err == nil {
		c.fill(len(p))
	}
	if c.buf.Len() > 0 {
		return c.buf.Read(p)
	}
	return 0, c.err
}

func (c *checkedReader) fill(n int) {
	next := make([]byte, n)
	n, err := c.r.Read(next)
	next = next[:n]
	c.hash.Write(next)
	if n > 0 {
		c.buf.Write(c.held)
		c.buf.Write(next[:n-1])
		c.held = next[n-1:]
	}
	if err == nil {
		return
	}
	c.err = err
	if !errors.Is(err, io.EOF) {
		return
	}
	if sum := hex.EncodeToString(c.hash.Sum(nil)); !strings.EqualFold(sum, c.digest) {
		c.err = errCorrupt
		return
	}
	c.buf.Write(c.held)
	c.held = nil
}
