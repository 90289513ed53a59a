package safe

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// Bounds on images that come along (Options.Inline, data: addresses).
const (
	maxImage  = 2 << 20
	maxImages = 10 << 20
	maxParts  = 300 // calls of Options.Inline
)

const (
	blockedClass = "mairust-blocked"
	// blockedImage is one transparent pixel, for images that have no words.
	blockedImage = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
)

// image writes src, class and title of an img. It says no if there is nothing to show, not even that something is missing.
func (s *scrubber) image(attrs attributes) (string, bool) {
	src := strings.TrimSpace(attrs.get("src"))
	alt := cut(attrs.get("alt"), maxValue)
	if s.link != nil {
		s.link.addText(alt)
	}
	shown, ok := s.source(src)
	var b strings.Builder
	if ok {
		writeAttribute(&b, "src", shown)
		if class, ok := classes(attrs.get("class")); ok {
			writeAttribute(&b, "class", class)
		}
		if title, ok := plain(attrs.get("title")); ok && title != "" {
			writeAttribute(&b, "title", title)
		}
		return b.String(), true
	}
	if src == "" && alt == "" {
		return "", false
	}
	if alt == "" {
		writeAttribute(&b, "src", blockedImage)
	} else { // without src a browser shows the words: a button that is an image can be read
		writeAttribute(&b, "title", alt)
	}
	writeAttribute(&b, "class", blockedClass)
	return b.String(), true
}

// source is what an image may be loaded from.
func (s *scrubber) source(src string) (string, bool) {
	if src == blockedImage {
		return "", false
	}
	scheme, rest, ok := strings.Cut(src, ":")
	scheme = strings.ToLower(strings.TrimSpace(dropBlanks(scheme)))
	switch {
	case ok && scheme == "data":
		return s.dataImage(rest)
	case ok && scheme == "cid":
		return s.inlineImage(rest)
	}
	target, ok := parseTarget(src)
	if strings.HasPrefix(src, "//") {
		target, ok = parseTarget("https:" + src)
	}
	if !ok || target.host == "" || target.mail {
		return "", false
	}
	if !s.options.Remote {
		s.report.RemoteBlocked++
		return "", false
	}
	return target.href, true
}

func (s *scrubber) inlineImage(id string) (string, bool) {
	if s.options.Inline == nil || len(id) > 1024 || s.partsAsked >= maxParts {
		return "", false
	}
	s.partsAsked++
	if plain, err := url.PathUnescape(id); err == nil {
		id = plain
	}
	_, data, ok := s.options.Inline(strings.Trim(id, "<>"))
	if !ok {
		return "", false
	}
	return s.embed(data)
}

// dataImage reads a data: address (RFC 2397), base64 only.
func (s *scrubber) dataImage(rest string) (string, bool) {
	kind, encoded, ok := strings.Cut(rest, ",")
	if !ok || !strings.HasSuffix(strings.ToLower(strings.TrimSpace(kind)), ";base64") || len(encoded) > 2*maxImage {
		return "", false
	}
	encoded = strings.TrimRight(dropBlanks(encoded), "=")
	data, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return "", false
	}
	return s.embed(data)
}

// embed makes a data: address of an image, whose type is told from its bytes and not from what the mail says.
func (s *scrubber) embed(data []byte) (string, bool) {
	kind := http.DetectContentType(data)
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
	default:
		return "", false
	}
	if len(data) > maxImage || s.imageBytes+len(data) > maxImages {
		s.report.Truncated = true
		return "", false
	}
	s.imageBytes += len(data)
	s.report.Images++
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data), true
}

// countRemote counts what would be fetched but for us, other than images.
func (s *scrubber) countRemote(name string, attrs attributes) {
	for _, a := range attrs {
		switch {
		case a.Key == "background" && a.Val != "",
			a.Key == "srcset" && name == "source",
			a.Key == "href" && name == "link":
			s.report.RemoteDropped++
		case a.Key == "style":
			s.report.RemoteDropped += strings.Count(strings.ToLower(a.Val), "url(")
		}
	}
}

// dropBlanks leaves out what browsers leave out of addresses (URL 4.4) and base64 decoders of their input.
func dropBlanks(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, s)
}
