package safe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html"
)

// blanks are left out before and after all else: those around the body tag end up there.
const blanks = " \t\n"

// maxAttributes is how many attributes of one tag are looked at.
const maxAttributes = 40

// scrubber rewrites one body.
type scrubber struct {
	options    Options
	report     Report
	nest       nest
	sheet      sheet
	body       string // attributes of the body tag
	seenBody   bool
	imageBytes int
	partsAsked int
	link       *link // the one that is open

	skip      string // the element that is being left out with its content
	skipDepth int
	style     *strings.Builder // content of the style element that is being read
	media     string           // its media attribute
}

func newScrubber(o Options) *scrubber {
	s := &scrubber{options: o}
	s.nest.onClose = s.closed
	return s
}

// section reads one text of the body into s, and ends what it leaves open.
func (s *scrubber) section(body []byte, plain bool) error {
	if plain {
		s.plain(string(body))
	} else if err := s.run(body); err != nil {
		return err
	}
	s.finish()
	return nil
}

// rule draws a line between two texts, if there is one above it.
func (s *scrubber) rule() {
	if s.nest.out.Len() > 0 && s.nest.prepare("hr", void) {
		s.nest.begin("hr", void, "<hr>")
	}
}

// plain writes text that is no HTML. It looks as the page's own text does, not as code.
func (s *scrubber) plain(text string) {
	if text = strings.TrimRight(text, blanks); text != "" && s.nest.prepare("div", block) {
		s.nest.begin("div", block, `<div style="white-space:pre-wrap">`)
		s.nest.text(html.EscapeString(text))
	}
}

// run reads HTML into s.
func (s *scrubber) run(body []byte) error {
	z := html.NewTokenizer(bytes.NewReader(body))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				return fmt.Errorf("read tokens: %w", z.Err())
			}
			s.finish()
			return nil
		case html.TextToken:
			s.text(z)
		case html.StartTagToken:
			s.startTag(z, false)
		case html.SelfClosingTagToken:
			s.startTag(z, true)
		case html.EndTagToken:
			name, _ := z.TagName()
			s.endTag(string(name))
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

func (s *scrubber) finish() {
	s.endStyle()
	s.skip, s.skipDepth = "", 0
	if len(s.nest.open) > 0 {
		s.nest.closeTo(0, false)
	}
	s.report.Truncated = s.report.Truncated || s.nest.full || s.sheet.full
}

// page reads the body element.
func (s *scrubber) page() io.Reader {
	return io.MultiReader(strings.NewReader("<body"+s.body+">"), strings.NewReader(strings.TrimRight(s.nest.out.String(), blanks)),
		strings.NewReader("</body>"))
}

func (s *scrubber) text(z *html.Tokenizer) {
	switch {
	case s.style != nil:
		if s.style.Len() < maxSheetBytes {
			s.style.Write(z.Raw())
		}
	case s.skip == "":
		t := cleanText(string(z.Text()))
		if s.link != nil {
			s.link.addText(t)
		}
		if s.nest.out.Len() == 0 {
			t = strings.TrimLeft(t, blanks)
		}
		s.nest.text(html.EscapeString(t))
	}
}

func (s *scrubber) startTag(z *html.Tokenizer, empty bool) {
	raw, more := z.TagName()
	name := string(raw)
	if s.skip != "" {
		if name == s.skip {
			s.skipDepth++
		}
		return
	}
	attrs := readAttributes(z, more)
	if withContent[name] || name == "span" && attrs.get("class") == hostClass {
		if empty && (name == "svg" || name == "math") {
			return // only these can be empty; <script/> is open
		}
		s.skip, s.skipDepth = name, 1
		if name == "style" && attrs.get("id") != paperID {
			s.style, s.media = new(strings.Builder), attrs.get("media")
		}
		return
	}
	if name == "image" { // a parser's alias (HTML 13.2.6.4.7)
		name = "img"
	}
	s.element(name, attrs)
}

// element writes what is kept of one start tag.
func (s *scrubber) element(name string, attrs attributes) {
	if name == "body" {
		s.bodyTag(attrs)
		return
	}
	s.countRemote(name, attrs)
	k, ok := elements[name]
	if !ok || !s.nest.prepare(name, k) {
		return
	}
	var written string
	switch name {
	case "a":
		if written, ok = s.openLink(attrs); !ok {
			return
		}
	case "img":
		if written, ok = s.image(attrs); !ok {
			return
		}
	}
	written = "<" + name + written + s.attributes(name, attrs) + ">"
	if !s.nest.room(len(written)) {
		if name == "a" {
			s.link = nil
		}
		return
	}
	s.nest.begin(name, k, written)
}

func (s *scrubber) bodyTag(attrs attributes) {
	if s.seenBody {
		return
	}
	s.seenBody = true
	s.countRemote("body", attrs)
	s.body = s.attributes("body", attrs)
}

func (s *scrubber) endTag(name string) {
	if s.skip != "" {
		if name == s.skip {
			s.skipDepth--
		}
		if s.skipDepth == 0 {
			s.endStyle()
			s.skip = ""
		}
		return
	}
	if k, ok := elements[name]; ok && k != void {
		s.nest.end(name, k)
	}
}

func (s *scrubber) endStyle() {
	if s.style == nil {
		return
	}
	css := s.style.String()
	s.style = nil
	s.report.RemoteDropped += strings.Count(strings.ToLower(css), "url(")
	s.sheet.add(css, s.media)
}

// closed is told of each element that ends; what it returns is written after it.
func (s *scrubber) closed(t tag) string {
	if t.name != "a" || s.link == nil {
		return ""
	}
	l := s.link
	s.link = nil
	mark := l.mark()
	if mark != "" {
		s.report.DeceptiveLinks++
	}
	return mark
}
