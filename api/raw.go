package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
)

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

// sendObject streams a part of the object. Of the whole object the digest is checked once more on its way, with the last piece
// held back until it is known to be right: what was good a moment ago is never served as good when it is not.
func (s *Server) sendObject(c huma.Context, m *store.Message, part span, etag string) {
	ctx := c.Context()
	r, err := s.openObject(ctx, m, part.offset, part.length)
	if err != nil {
		s.bodyFailed(ctx, m, err)
		s.refuse(c, bodyProblem())
		return
	}
	defer func() { _ = r.Close() }() // it was only read
	out := outgoing{message: m, src: r, length: part.length}
	if part.length == m.SizeBytes {
		out.check = newChecksum(m)
	}
	s.send(c, out, func() {
		c.SetHeader("Content-Type", "message/rfc822")
		c.SetHeader("Content-Disposition", attachment.Disposition(string(m.ID)+".eml"))
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
