package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

type attachmentInput struct {
	OneMessage
	Part string `path:"part" maxLength:"64" doc:"The id of the attachment, such as 2 or 1.2."`
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
			return &stream{Body: func(c huma.Context) { s.sendPart(c, m, p) }}, nil
		}
	}
	return nil, store.ErrNotFound
}

// sendPart streams a part decoded. Its length is not announced: it is known for sure only at the end.
func (s *Server) sendPart(c huma.Context, m *store.Message, p mail.Part) {
	r, err := s.openObject(c.Context(), m, p.Offset, p.Size)
	if err != nil {
		s.bodyFailed(c.Context(), m, err)
		s.refuse(c, bodyProblem())
		return
	}
	defer func() { _ = r.Close() }() // it was only read
	out := outgoing{message: m, src: p.Decode(&exactReader{r: r, left: p.Size}), length: -1}
	s.send(c, out, func() {
		c.SetHeader("Content-Type", safeType(p))
		c.SetHeader("Content-Disposition", contentDisposition(fileName(p)))
		c.SetHeader("Content-Security-Policy", "sandbox; default-src 'none'")
		c.SetStatus(http.StatusOK)
	})
}

// exactReader makes an end before its time an error.
type exactReader struct {
	r    io.Reader
	left int64
}

// Read gives blob.ErrDamaged if bytes are missing.
func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = blob.ErrDamaged
	}
	return n, err
}

// safeType keeps a type that no browser runs; all others become bytes to be saved.
func safeType(p mail.Part) string {
	switch p.Type {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/zip",
		"audio/mpeg", "audio/ogg", "audio/wav", "video/mp4", "video/webm",
		"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		"application/vnd.openxmlformats-officedocument.presentationml.presentation":
		return p.Type
	case "text/plain", "text/csv", "text/calendar":
		return p.Type + charsetParameter(p.Charset)
	default:
		return "application/octet-stream"
	}
}

// charsetParameter repeats the sender's label if it is a plain token; UTF-7 is not, browsers were fooled by it.
func charsetParameter(label string) string {
	if label == "" || len(label) > 40 || strings.EqualFold(label, "utf-7") ||
		strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return ""
	}
	return "; charset=" + label
}

// maxFileName is what common file systems take.
const maxFileName = 200

// fileName is the sender's name for a part, made harmless: no directories, no control or direction
// characters, no leading dot, not too long.
func fileName(p mail.Part) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		case strings.ContainsRune(`/\:*?"<>|`, r):
			return '_'
		}
		return r
	}, p.Name)
	name = strings.Trim(name, ". ")
	if name == "" {
		name = "part-" + p.ID
	}
	if len(name) <= maxFileName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 20 {
		ext = ""
	}
	return mail.Clean(name, maxFileName-len(ext)) + ext
}

// contentDisposition is an attachment with this name: in ASCII for old clients, and in UTF-8 (RFC 6266, RFC 8187).
func contentDisposition(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	field := `attachment; filename="` + ascii + `"`
	if ascii != name {
		field += "; filename*=UTF-8''" + extValue(name)
	}
	return field
}

// extValue percent-encodes all but attr-char (RFC 8187, 3.2.1).
func extValue(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}
