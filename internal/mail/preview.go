package mail

import (
	"bufio"
	"strings"
	"unicode/utf8"
)

// plainPreview writes the beginning of text in that charset.
func plainPreview(charset string, text []byte, p *previewWriter, d *defects) {
	r, ok := charsetReader(charset, text)
	if !ok {
		d.add(DefectCharset)
	}
	in := bufio.NewReaderSize(r, 1<<10)
	for !p.full() {
		c, _, err := in.ReadRune()
		if err != nil {
			return
		}
		p.add(c)
	}
}

// htmlPreview does the same for HTML, without tags and what is not shown. Where one word ends and the next begins is for blocks
// to say; "<b>こん</b>にちは" is one.
func htmlPreview(charset string, text []byte, p *previewWriter, d *defects) {
	r, ok := charsetReader(charset, text)
	if !ok {
		d.add(DefectCharset)
	}
	readHTML(r, p)
}

// previewWriter folds white space and stops at its limit.
type previewWriter struct {
	b          strings.Builder
	count      int
	limit      int
	wantsSpace bool
}

func (p *previewWriter) full() bool { return p.count >= p.limit }

// newLine takes the edge of a block for a space.
func (p *previewWriter) newLine() { p.wantsSpace = true }

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
