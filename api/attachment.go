package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
)

type attachmentInput struct {
	OneMessage
	Part        string `path:"part" maxLength:"64" doc:"The id of the attachment, such as 2 or 1.2."`
	Range       string `header:"Range" doc:"One byte range (RFC 9110) of the decoded attachment."`
	IfRange     string `header:"If-Range"`
	IfNoneMatch string `header:"If-None-Match"`
}

func (s *Server) attachment(ctx context.Context, in *attachmentInput) (*stream, error) {
	m, err := s.visible(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range m.Parts {
		if p.ID == in.Part && isLeaf(p) {
			if err := s.auditRead(ctx, m, in.Reason); err != nil {
				return nil, err
			}
			return s.answerPart(in, m, p)
		}
	}
	return nil, store.ErrNotFound
}

// answerPart chooses what of a part is answered.
func (s *Server) answerPart(in *attachmentInput, m *store.Message, p mail.Part) (*stream, error) {
	etag := `"` + m.Digest + "-" + p.ID + `"`
	if notModified(in.IfNoneMatch, etag) {
		return &stream{Body: func(c huma.Context) {
			c.SetHeader("ETag", etag)
			c.SetStatus(http.StatusNotModified)
		}}, nil
	}
	part, ok := parseRange(wantedRange(in.Range, in.IfRange, etag), p.DecodedSize)
	if !ok {
		problem := newProblem(codeRange)
		problem.header = http.Header{"Content-Range": {"bytes */" + strconv.FormatInt(p.DecodedSize, 10)}}
		return nil, problem
	}
	return &stream{Body: func(c huma.Context) { s.sendPart(c, m, p, part, etag) }}, nil
}

// sendPart streams a part decoded.
func (s *Server) sendPart(c huma.Context, m *store.Message, p mail.Part, part span, etag string) {
	r, err := s.attachments.Open(c.Context(), m, p, part.offset, part.length)
	if err != nil {
		s.bodyFailed(c.Context(), m, err)
		s.refuse(c, bodyProblem())
		return
	}
	defer func() { _ = r.Close() }() // it was only read
	s.send(c, outgoing{message: m, src: r, length: part.length}, func() {
		c.SetHeader("Content-Type", attachment.MediaType(p))
		c.SetHeader("Content-Disposition", attachment.Disposition(attachment.FileName(p)))
		c.SetHeader("Content-Security-Policy", "sandbox; default-src 'none'")
		c.SetHeader("ETag", etag)
		c.SetHeader("Accept-Ranges", "bytes")
		c.SetHeader("Content-Length", strconv.FormatInt(part.length, 10))
		if part.partial {
			c.SetHeader("Content-Range", part.contentRange(p.DecodedSize))
		}
		c.SetStatus(part.status())
	})
}
