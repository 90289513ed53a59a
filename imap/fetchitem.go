package imap

import (
	"slices"
	"strings"
)

// item is one thing that a FETCH asks for, under the name that the response gives it.
type item struct {
	label string
	kind  itemKind
	// section of a body.
	section *section
}

type itemKind int

const (
	itemUID itemKind = iota
	itemFlags
	itemModSeq
	itemDate
	itemSize
	itemEnvelope
	itemBody
	itemBodyStructure
	itemSection
)

var plainItems = map[string]itemKind{
	"UID": itemUID, "FLAGS": itemFlags, "MODSEQ": itemModSeq, "INTERNALDATE": itemDate, "RFC822.SIZE": itemSize,
	"ENVELOPE": itemEnvelope, "BODYSTRUCTURE": itemBodyStructure,
}

// macros of RFC 9051, 6.4.5.
var macros = map[string][]string{
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// maxItems bounds one FETCH.
const maxItems = 200

// fetchRequest is a FETCH, understood.
type fetchRequest struct {
	items []item
	// since, when not negative, wants only what changed after that mod-sequence; vanished what went since, too.
	since    int64
	vanished bool
}

func (p *parser) fetchRequest() *fetchRequest {
	r := &fetchRequest{since: -1}
	if p.peek() == '(' {
		p.list(func() { r.add(p, p.fetchWord()) })
	} else {
		word := p.fetchWord()
		if names, isMacro := macros[word]; isMacro {
			for _, name := range names {
				r.add(p, name)
			}
		} else {
			r.add(p, word)
		}
	}
	if p.err == nil && p.b != "" {
		p.sp()
		p.list(func() { r.modifier(p) })
	}
	p.end()
	return r
}

func (p *parser) fetchWord() string {
	word := p.word(func(c byte) bool { return isAtomChar(c) && c != '[' }, "a fetch item")
	return strings.ToUpper(word)
}

func (r *fetchRequest) modifier(p *parser) {
	switch p.keyword() {
	case "CHANGEDSINCE":
		p.sp()
		r.since = int64(p.number())
		r.ensure(itemModSeq, "MODSEQ")
	case "VANISHED":
		r.vanished = true
	default:
		p.fail("a fetch modifier")
	}
}

// add takes an item, whose name is read and whose section may follow.
func (r *fetchRequest) add(p *parser, word string) {
	if len(r.items) >= maxItems {
		p.fail("fewer items")
		return
	}
	if kind, plain := plainItems[word]; plain {
		r.ensure(kind, word)
		return
	}
	switch word {
	case "RFC822", "RFC822.PEEK":
		r.items = append(r.items, item{word, itemSection, &section{}})
	case "RFC822.HEADER":
		r.items = append(r.items, item{word, itemSection, &section{text: "HEADER"}})
	case "RFC822.TEXT":
		r.items = append(r.items, item{word, itemSection, &section{text: "TEXT"}})
	case "BODY", "BODY.PEEK":
		if word == "BODY" && p.peek() != '[' {
			r.ensure(itemBody, word)
			return
		}
		s := p.section()
		r.items = append(r.items, item{s.label(), itemSection, s})
	default:
		p.fail("a fetch item")
	}
}

// ensure adds an item once.
func (r *fetchRequest) ensure(kind itemKind, label string) {
	if !r.has(kind) {
		r.items = append(r.items, item{label: label, kind: kind})
	}
}

func (r *fetchRequest) has(kind itemKind) bool {
	return slices.ContainsFunc(r.items, func(i item) bool { return i.kind == kind })
}

// needs are what has to be read of each message.
type needs struct{ row, envelope, header, structure, body bool }

// objects says that more than the index has to be read.
func (n needs) objects() bool { return n.envelope || n.header || n.structure || n.body }

func (r *fetchRequest) needs() needs {
	var n needs
	for _, i := range r.items {
		switch i.kind {
		case itemDate, itemSize:
			n.row = true
		case itemEnvelope:
			n.row, n.envelope = true, true
		case itemBody, itemBodyStructure:
			n.row, n.structure = true, true
		case itemSection:
			n.row = true
			n.body = n.body || i.section.text == "" || i.section.text == "TEXT"
			n.structure = n.structure || i.section.needsStructure()
			n.header = n.header || !i.section.needsStructure() && i.section.text != ""
		}
	}
	return n
}
