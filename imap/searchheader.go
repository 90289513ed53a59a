package imap

import (
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// searchHeader is a header as search keys look at it, by one goroutine at a time. Each field is decoded and folded once, when the
// first key wants it, however many keys there are.
type searchHeader struct {
	fields []*searchField
	// named has the fields by their folded names.
	named map[string][]*searchField
}

// searchField is one field, its name folded. Once ready, it is there as people read it and, if that differs, as it is written, both
// folded.
type searchField struct {
	name, value     string
	ready           bool
	read, asWritten string
}

func newSearchHeader(raw string) *searchHeader {
	h := &searchHeader{named: map[string][]*searchField{}}
	for _, f := range splitHeader(raw) {
		s := &searchField{name: foldText(f.name), value: f.value}
		h.fields = append(h.fields, s)
		h.named[s.name] = append(h.named[s.name], s)
	}
	return h
}

// contains looks for folded text in all fields of a folded name; empty text wants such a field to be there.
func (h *searchHeader) contains(name, text string) bool {
	return slices.ContainsFunc(h.named[name], func(f *searchField) bool { return f.contains(text) })
}

func (f *searchField) contains(text string) bool {
	if text == "" {
		return true
	}
	if !f.ready {
		f.ready, f.read = true, foldText(mail.DecodeHeader(f.value, maxHeaderBytes))
		if written := foldText(unfolded(f.value)); written != f.read {
			f.asWritten = written
		}
	}
	return strings.Contains(f.read, text) || strings.Contains(f.asWritten, text)
}

// look notes which needles are in a field, as in says.
func (h *searchHeader) look(needles []needle, found []bool, in func(*searchField, needle) bool) {
	for _, f := range h.fields {
		for i, n := range needles {
			found[i] = found[i] || in(f, n)
		}
	}
}
