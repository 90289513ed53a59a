package mail

import (
	"bufio"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// plainPreview gives the first runes of text in that charset, white space folded.
func plainPreview(charset string, text []byte, runes int, d *defects) string {
	r, ok := charsetReader(charset, text)
	if !ok {
		d.add(DefectCharset)
	}
	p := previewWriter{limit: runes}
	in := bufio.NewReaderSize(r, 1<<10)
	for !p.full() {
		c, _, err := in.ReadRune()
		if err != nil {
			break
		}
		p.add(c)
	}
	return p.String()
}

// htmlPreview does the same for HTML, without tags and what is not shown.
func htmlPreview(charset string, text []byte, runes int, d *defects) string {
	r, ok := charsetReader(charset, text)
	if !ok {
		d.add(DefectCharset)
	}
	p := previewWriter{limit: runes}
	z := html.NewTokenizer(r)
	z.SetMaxBuf(maxToken)
	hidden := ""
	for !p.full() {
		switch z.Next() {
		case html.ErrorToken:
			return p.String()
		case html.TextToken:
			if hidden == "" {
				p.addAll(z.Text())
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			if hidden == "" && isHidden(string(name)) {
				hidden = string(name)
			}
			p.space()
		case html.EndTagToken:
			if name, _ := z.TagName(); string(name) == hidden {
				hidden = ""
			}
			p.space()
		case html.SelfClosingTagToken:
			p.space()
		}
	}
	return p.String()
}

// maxToken bounds one tag or piece of text in HTML.
const maxToken = 256 << 10

// isHidden names the elements whose text is not shown.
func isHidden(tag string) bool {
	switch tag {
	case "head", "title", "script", "style", "noscript", "template":
		return true
	}
	return false
}

// previewWriter folds white space and stops at its limit.
type previewWriter struct {
	b          strings.Builder
	count      int
	limit      int
	wantsSpace bool
}

func (p *previewWriter) full() bool { return p.count >= p.limit }

func (p *previewWriter) space() { p.wantsSpace = true }

func (p *previewWriter) add(r rune) {
	switch {
	case blank(r) || r == '\ufeff' || r == '\u200b':
		p.wantsSpace = true
		return
	case p.wantsSpace && p.count > 0:
		p.b.WriteByte(' ')
		p.count++
	}
	p.wantsSpace = false
	if !p.full() {
		p.b.WriteRune(r)
		p.count++
	}
}

func (p *previewWriter) addAll(text []byte) {
	for len(text) > 0 && !p.full() {
		r, n := utf8.DecodeRune(text)
		p.add(r)
		text = text[n:]
	}
}

func (p *previewWriter) String() string {
	return Clean(strings.TrimRight(p.b.String(), " "), 0)
}
