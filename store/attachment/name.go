package attachment

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mairust/mairust/internal/mail"
)

// MediaType keeps a type that no browser runs; all others become bytes to be saved.
func MediaType(p mail.Part) string {
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

// FileName is the sender's name for a part, made harmless: no directories, no control or direction characters, no leading
// dot, no name that Windows takes for a device, not too long.
func FileName(p mail.Part) string {
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
	if isDevice(name) {
		name = "_" + name
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

// isDevice knows the names that stand for devices in every folder of Windows, whatever their extension.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	base = strings.TrimRight(base, " ")
	if slices.Contains([]string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}, base) {
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(base, port); ok && len([]rune(n)) == 1 && strings.ContainsAny(n, "0123456789¹²³") {
			return true
		}
	}
	return false
}

// Disposition is an attachment of this name: in ASCII for old clients, and in UTF-8 (RFC 6266, RFC 8187).
func Disposition(name string) string {
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
