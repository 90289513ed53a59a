package mail

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/net/html"
)

// textWriter takes the text of HTML, and where lines end.
type textWriter interface {
	full() bool
	addAll(text []byte)
	newLine()
}

// maxUnclosed is how many elements without an end are passed over: each takes another look at the rest.
const maxUnclosed = 4

// readHTML writes the text of HTML that is shown, of which the caller has bounded the length: a tag, such as one of a picture in a data: address,
// may be as long as that. An element that is not shown and never ends hides no more than what stands
// before the next tag: senders forget the end of a title, and what is cut has lost that of its style sheet.
func readHTML(r io.Reader, w textWriter) {
	for range maxUnclosed {
		rest := readTokens(r, w)
		at := indexTag(rest)
		if at < 0 || w.full() {
			return
		}
		r = strings.NewReader(rest[at:])
	}
}

// readTokens reads to the end, and gives what stands there in an element that is not shown and has no end.
func readTokens(r io.Reader, w textWriter) (unclosed string) {
	z := html.NewTokenizer(r)
	hidden, depth := "", 0
	for !w.full() {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return unclosed
		case html.TextToken:
			if hidden == "" {
				w.addAll(z.Text())
			} else if isRaw(hidden) {
				unclosed = string(z.Raw())
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			raw, _ := z.TagName()
			name := string(raw)
			empty := kind == html.SelfClosingTagToken && !isRaw(name) // only foreign elements can be: <script/> is open
			switch {
			case hidden == name && !empty:
				depth++
			case hidden == "" && isHidden(name) && !empty:
				hidden, depth = name, 1
			case hidden == "" && breaksLine(name):
				w.newLine()
			}
		case html.EndTagToken:
			unclosed = ""
			raw, _ := z.TagName()
			name := string(raw)
			if hidden == name {
				if depth--; depth == 0 {
					hidden = ""
				}
			} else if hidden == "" && breaksLine(name) {
				w.newLine()
			}
		}
	}
	return ""
}

// indexTag finds the first tag, -1 for none.
func indexTag(text string) int {
	for from := 0; ; {
		i := strings.IndexByte(text[from:], '<')
		if i < 0 || from+i+1 >= len(text) {
			return -1
		}
		from += i
		if c := text[from+1] | 0x20; c == '/' || c >= 'a' && c <= 'z' {
			return from
		}
		from++
	}
}

// isHidden names the elements whose text is not shown. The head is none: what it holds is named here, and its end is often
// left out (HTML 13.1.2.4).
func isHidden(tag string) bool {
	switch tag {
	case "svg", "math", "select", "datalist", "template", "frameset":
		return true
	}
	return isRaw(tag)
}

// isRaw names those that hold no elements but text alone, up to their own end tag.
func isRaw(tag string) bool {
	switch tag {
	case "title", "script", "style", "noscript", "textarea", "iframe", "noembed", "noframes", "xmp", "plaintext":
		return true
	}
	return false
}

// breaksLine names the elements that begin and end a line of their own, or a cell.
func breaksLine(tag string) bool {
	switch tag {
	case "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dir", "div", "dl", "dt", "fieldset",
		"figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "legend", "li", "main",
		"menu", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul":
		return true
	}
	return false
}

// unshown are the marks around what is long and not shown.
var unshown = []struct{ start, end string }{{"<style", "</style"}, {"<script", "</script"}, {"<!--", "-->"}}

// maxMark is longer than each of them.
const maxMark = 16

// squeeze takes style sheets, scripts and comments out of the beginning of HTML, in place. The last one may go on in what comes
// next: its start stays, and its last bytes, which may begin its end.
func squeeze(b []byte) []byte {
	out := b[:0]
	for {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			return append(out, b...)
		}
		out, b = append(out, b[:i]...), b[i:]
		start, end := unshownAt(b)
		if start == "" {
			out, b = append(out, '<'), b[1:]
			continue
		}
		inside := b[len(start):]
		at := indexFold(inside, end)
		if at < 0 && len(inside) <= 2*maxMark {
			return append(out, b...)
		}
		if at < 0 {
			if out = append(out, start...); end != "-->" {
				out = append(out, '>')
			}
			return append(out, inside[len(inside)-maxMark:]...)
		}
		b = inside[at:]
		if end == "-->" {
			b = b[len(end):]
		}
	}
}

// unshownAt says which of them b begins with.
func unshownAt(b []byte) (start, end string) {
	for _, u := range unshown {
		if len(b) >= len(u.start) && strings.EqualFold(string(b[:len(u.start)]), u.start) {
			return u.start, u.end
		}
	}
	return "", ""
}

// indexFold finds text, whose first byte is no letter, in any case of letters.
func indexFold(b []byte, text string) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], text[0])
		if i < 0 || from+i+len(text) > len(b) {
			return -1
		}
		if from += i; strings.EqualFold(string(b[from:from+len(text)]), text) {
			return from
		}
		from++
	}
}
