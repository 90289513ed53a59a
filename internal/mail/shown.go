package mail

import (
	"strings"
	"unicode/utf8"
)

// Shown gives the parts that are a message's own text, in the order in which mail programs show them: text and HTML that is no
// attachment, has no file name, and is not in an attached message. Of alternatives it is one, that of the preferred type
// ("text/html" or "text/plain") if there is one; of related and signed parts the first that is text (RFC 2387, RFC 1847); of
// all others each (RFC 2046, 5.1.3), so that the list may hold both types.
func Shown(parts []Part, preferred string) []Part {
	if len(parts) == 0 {
		return nil
	}
	root, inside := parts[0], parts[1:]
	switch {
	case isShown(root):
		return parts[:1:1]
	case !strings.HasPrefix(root.Type, "multipart/"):
		return nil
	}
	var all, best []Part
	for len(inside) > 0 {
		n := 1
		for n < len(inside) && inside[n].Depth > inside[0].Depth {
			n++
		}
		child := Shown(inside[:n:n], preferred)
		inside = inside[n:]
		switch root.Type {
		case "multipart/alternative":
			if suits(child, preferred) >= suits(best, preferred) { // the last is the best, to its sender
				best = child
			}
		case "multipart/related", "multipart/signed":
			if len(child) > 0 {
				return child
			}
		default:
			all = append(all, child...)
		}
	}
	return append(all, best...)
}

func isShown(p Part) bool {
	return (p.Type == "text/plain" || p.Type == "text/html") && p.Disposition != "attachment" && p.Name == ""
}

// suits grades an alternative: none of it is text, none of that is of the preferred type, some is, enough is. Of HTML some is enough:
// what is plain beside it is shown with it.
func suits(shown []Part, preferred string) int {
	n := countType(shown, preferred)
	switch {
	case len(shown) == 0:
		return 0
	case n == 0:
		return 1
	case n < len(shown) && preferred != "text/html":
		return 2
	default:
		return 3
	}
}

func countType(parts []Part, mediaType string) int {
	n := 0
	for _, p := range parts {
		if p.Type == mediaType {
			n++
		}
	}
	return n
}

// MaxShown is how many texts of a message are shown at most: each is read by itself.
const MaxShown = 20

// textBreak stands between two texts of a message.
const textBreak = "\n\n----------\n\n"

// ShownText reads what is shown of a message (Shown), as text: all of it, with a line of dashes between two parts, those that are
// HTML as HTMLText has them. It is about limit bytes long at most; cut says that there is more. read gives up to limit bytes of a
// part, decoded from its transfer encoding, and says whether there are more; the errors are its own.
func ShownText(parts []Part, limit int64, read func(p Part, limit int64) (raw []byte, cut bool, err error)) (text string, cut bool, err error) {
	var texts []string
	source := 4 * limit // of HTML, most of which may be tags
	for i, p := range Shown(parts, "text/plain") {
		if i == MaxShown || limit <= 0 || source <= 0 {
			return joinTexts(texts), true, nil
		}
		isHTML, most := p.Type == "text/html", limit
		if isHTML {
			most = source
		}
		raw, more, err := read(p, most)
		if err != nil {
			return "", false, err
		}
		one, _ := DecodeText(p.Charset, raw)
		if more {
			one = strings.TrimRight(one, "\uFFFD") // half a character
		}
		if isHTML {
			var long bool
			source -= int64(len(raw))
			if i := strings.LastIndexByte(one, '<'); more && i > strings.LastIndexByte(one, '>') {
				one = one[:i] // half a tag
			}
			one, long = HTMLText(one, int(limit))
			more = more || long
		}
		limit -= int64(len(one))
		cut = cut || more
		texts = append(texts, one)
	}
	return joinTexts(texts), cut, nil
}

// joinTexts puts texts one below the other. Blank ones are left out; one alone stays as it is.
func joinTexts(texts []string) string {
	if len(texts) == 1 {
		return texts[0]
	}
	var b strings.Builder
	for _, t := range texts {
		t = strings.TrimLeft(strings.TrimRight(t, " \t\r\n"), "\r\n")
		if t != "" && b.Len() > 0 {
			b.WriteString(textBreak)
		}
		b.WriteString(t)
	}
	return b.String()
}

// HTMLText gives the text of HTML as lines, up to limit bytes; cut says that there is more. It is not meant to be safe HTML.
func HTMLText(html string, limit int) (text string, cut bool) {
	w := lineWriter{limit: limit}
	readHTML(strings.NewReader(html), &w)
	return w.b.String(), w.cut
}

// lineWriter folds white space and begins a line where a block does.
type lineWriter struct {
	b                     strings.Builder
	limit                 int
	wantsSpace, wantsLine bool
	cut                   bool
}

func (w *lineWriter) full() bool { return w.cut }

func (w *lineWriter) newLine() { w.wantsLine = true }

func (w *lineWriter) addAll(text []byte) {
	for len(text) > 0 && !w.cut {
		r, n := utf8.DecodeRune(text)
		w.add(r)
		text = text[n:]
	}
}

func (w *lineWriter) add(r rune) {
	if r != '\u00a0' && r != '\u3000' && blank(r) {
		w.wantsSpace = true
		return
	}
	before := ""
	switch {
	case w.b.Len() == 0:
	case w.wantsLine:
		before = "\n"
	case w.wantsSpace:
		before = " "
	}
	if w.b.Len()+len(before)+utf8.RuneLen(r) > w.limit {
		w.cut = true
		return
	}
	w.wantsSpace, w.wantsLine = false, false
	w.b.WriteString(before)
	w.b.WriteRune(r)
}
