package ui

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mairust/mairust/internal/mail"
)

// fileHeader announces a file that is saved and never shown by the browser itself.
func (p *page) fileHeader(mediaType, name string) {
	h := p.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", contentDisposition(name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
}

// fileType keeps a few types that no browser runs; all others are bytes.
func fileType(p mail.Part) string {
	switch p.Type {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/zip":
		return p.Type
	default:
		return "application/octet-stream"
	}
}

// maxFileName is what common file systems take.
const maxFileName = 200

// fileName is the sender's name for a part, made harmless: no directories, no control or direction characters, no
// leading dot, not too long.
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
	if name = strings.Trim(name, ". "); name == "" {
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

// contentDisposition is an attachment of this name: in ASCII for old clients, and in UTF-8 (RFC 6266, RFC 8187).
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
