package ui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/ui/safe"
)

// The policy of a message's body. The frame around it is sandboxed too; either would do.
const (
	bodyPolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; " +
		"style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
	remoteBodyPolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data: https: http:; " +
		"style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

// Bounds on pictures within a message, which are put into its body.
const (
	maxPicture  = 2 << 20
	maxPictures = 8 << 20
)

// showBody answers with the HTML of a message, made safe, for the frame.
func (s *Server) showBody(p *page) error {
	m, done, err := s.readable(p)
	if done || err != nil {
		return err
	}
	if !hasHTML(m.Parts) {
		return problemNotFound
	}
	remote := p.r.URL.Query().Get("remote") == "1"
	var b bytes.Buffer
	if _, err := s.writeHTML(p, m, remote, &b); err != nil {
		s.bodyFailed(p, m, err)
		return problemBody
	}
	h := p.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", bodyPolicy)
	if remote {
		h.Set("Content-Security-Policy", remoteBodyPolicy)
	}
	// An error here is the client's, who has left.
	_, _ = p.w.Write(b.Bytes())
	return nil
}

// writeHTML makes what is shown of a message safe: its HTML, and what is plain beside that.
func (s *Server) writeHTML(p *page, m *store.Message, remote bool, w io.Writer) (safe.Report, error) {
	sections, cut, err := s.sections(p, m)
	if err != nil {
		return safe.Report{}, err
	}
	pictures := pictures{s: s, p: p, m: m}
	report, err := safe.Sections(w, sections, safe.Options{Remote: remote, Inline: pictures.inline})
	if err != nil {
		return report, fmt.Errorf("make body safe: %w", err)
	}
	report.Truncated = report.Truncated || cut
	return report, pictures.err
}

// sections reads the texts of a message, HTML preferred; cut tells whether some are missing.
func (s *Server) sections(p *page, m *store.Message) (list []safe.Section, cut bool, err error) {
	left := int64(maxHTML)
	for i, part := range mail.Shown(m.Parts, "text/html") {
		if i == mail.MaxShown || left <= 0 {
			return list, true, nil
		}
		raw, more, err := s.readPart(p.ctx(), m, part, left)
		if err != nil {
			return nil, false, err
		}
		left -= int64(len(raw))
		cut = cut || more
		text, _ := mail.DecodeText(part.Charset, raw)
		list = append(list, safe.Section{Text: strings.NewReader(text), Plain: part.Type == "text/plain"})
	}
	return list, cut, nil
}

// pictures finds the pictures that a body refers to by their Content-ID (RFC 2392), up to a sum of sizes.
type pictures struct {
	s    *Server
	p    *page
	m    *store.Message
	used int64
	err  error
}

func (x *pictures) inline(contentID string) (mediaType string, data []byte, ok bool) {
	for _, part := range mail.OwnParts(x.m.Parts) {
		if part.ContentID != contentID || contentID == "" || part.DecodedSize > maxPicture || x.used+part.DecodedSize > maxPictures {
			continue
		}
		if !mayBePicture(part) {
			continue
		}
		data, cut, err := x.s.readPart(x.p.ctx(), x.m, part, maxPicture)
		if err != nil || cut {
			x.err = err
			return "", nil, false
		}
		x.used += int64(len(data))
		return part.Type, data, true
	}
	return "", nil, false
}

// mayBePicture says whether a part is worth a look: image/jpg, image/pjpeg, image/x-png and the like are what some programs write, and
// some say no more than the file's name. What it is, and whether it is shown, its first bytes tell (package safe).
func mayBePicture(p mail.Part) bool {
	switch {
	case strings.HasPrefix(p.Type, "image/"):
		return true
	case p.Type != "application/octet-stream":
		return false
	}
	switch strings.ToLower(path.Ext(p.Name)) {
	case ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp":
		return true
	}
	return false
}

// download answers with the message as a file, byte for byte.
func (s *Server) download(p *page) error {
	m, done, err := s.readable(p)
	if done || err != nil {
		return err
	}
	r, err := p.openFile(func(ctx context.Context) (io.ReadCloser, error) { return s.openObject(ctx, m, 0, -1) })
	if err != nil {
		s.bodyFailed(p, m, err)
		return problemBody
	}
	name := strings.TrimSuffix(attachment.FileName(mail.Part{ID: "0", Name: m.Subject}), ".eml")
	if strings.TrimSpace(m.Subject) == "" {
		name = "message"
	}
	p.fileHeader("message/rfc822", name+".eml")
	return s.stream(p, m, r)
}

// attachment answers with a part as a file, decoded. Types that a browser could run become plain bytes.
func (s *Server) attachment(p *page) error {
	m, done, err := s.readable(p)
	if done || err != nil {
		return err
	}
	for _, part := range m.Parts {
		if part.ID != p.r.PathValue("part") || part.ID == "" || strings.HasPrefix(part.Type, "multipart/") {
			continue
		}
		r, err := p.openFile(func(ctx context.Context) (io.ReadCloser, error) { return s.d.Attachments.Open(ctx, m, part, 0, -1) })
		if err != nil {
			s.bodyFailed(p, m, err)
			return problemBody
		}
		p.fileHeader(attachment.MediaType(part), attachment.FileName(part))
		p.w.Header().Set("Content-Length", strconv.FormatInt(part.DecodedSize, 10))
		return s.stream(p, m, r)
	}
	return problemNotFound
}
