package mail

import "strings"

// newPart reads the Content fields of the current header.
func (w *walker) newPart(offset int64) (p Part, boundary string) {
	h, d := &w.head, &w.defects
	p = Part{Offset: offset, Depth: len(w.stack), Type: "text/plain"}
	if len(w.stack) > 0 && w.stack[len(w.stack)-1].digest {
		p.Type = "message/rfc822"
	}
	var types, disposition params
	if v := h.value(fieldContentType); v != "" {
		p.Type, types = parseParams(v, d)
		if !isMediaType(p.Type) {
			d.add(DefectContentType)
			p.Type = "text/plain"
		}
	}
	p.Disposition, disposition = parseParams(h.value(fieldDisposition), d)
	if p.Disposition != "" && p.Disposition != "inline" {
		p.Disposition = "attachment" // RFC 2183, 2.8: so are unknown ones
	}
	p.Encoding, _, _ = strings.Cut(strings.ToLower(h.value(fieldEncoding)), ";")
	p.Encoding = readable(p.Encoding, maxEncoding)
	p.Charset = readable(strings.ToLower(types.plain("charset")), maxCharset)
	if p.Name = fileName(disposition.text("filename", d)); p.Name == "" {
		p.Name = fileName(types.text("name", d))
	}
	if h.seen[fieldContentID] {
		p.ContentID = msgID(h.value(fieldContentID))
	}
	if boundary = strings.TrimRight(types.plain("boundary"), " \t"); len(boundary) > maxBoundary {
		boundary = ""
	}
	return p, boundary
}

// isMediaType checks "type/subtype" (RFC 2045, 5.1).
func isMediaType(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	return ok && len(s) <= maxMediaType && isToken(kind) && isToken(sub)
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
