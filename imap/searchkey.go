package imap

import (
	"strconv"
	"strings"
	"time"
)

// answer is what is known of a message: a key that needs more of it than was read says unknown.
type answer int

const (
	never answer = iota
	unknown
	yes
)

func answerIf(b bool) answer {
	if b {
		return yes
	}
	return never
}

// key is a search key (RFC 9051, 6.4.4).
type key func(*candidate) answer

// searcher reads the keys of one SEARCH.
type searcher struct {
	*parser
	c   *conn
	now time.Time
	// needles are the texts that are looked for in bodies, folded.
	needles []needle
	// subjects says that a subject is looked for.
	subjects bool
	// modSeq says that the mod-sequence is to be told.
	modSeq bool
	decode func(string) string
	// count is how many keys were read, depth how many of them stand in one another.
	count, depth int
}

// needle is what BODY or TEXT looks for.
type needle struct {
	text   string
	header bool
}

// Bounds of one SEARCH.
const (
	maxSearchDepth = 100
	maxNeedles     = 100
	// Each key is asked about each message, up to four times.
	maxSearchKeys = 500
)

// keys reads keys that must all hold, up to the end or a parenthesis.
func (s *searcher) keys() key {
	var list []key
	for s.err == nil {
		list = append(list, s.key())
		if s.b == "" || s.peek() == ')' {
			break
		}
		s.sp()
		if s.b == "" {
			break // a space at the end
		}
	}
	return all(list)
}

func all(list []key) key {
	if len(list) == 1 {
		return list[0]
	}
	return func(m *candidate) answer {
		result := yes
		for _, k := range list {
			if result = min(result, k(m)); result == never {
				break
			}
		}
		return result
	}
}

func (s *searcher) key() key {
	if s.depth++; s.depth > maxSearchDepth {
		s.fail("fewer keys in one another")
	}
	if s.count++; s.count > maxSearchKeys {
		s.limit("A search has at most " + strconv.Itoa(maxSearchKeys) + " keys")
	}
	defer func() { s.depth-- }()
	if s.err != nil {
		return nil
	}
	if s.take('(') {
		k := s.keys()
		s.expect(')')
		return k
	}
	if isSetChar(s.peek()) || s.peek() == '$' {
		return s.numbers(false)
	}
	return s.named(strings.ToUpper(s.word(isAtomChar, "a search key")))
}

// flagKeys are the keys of system flags; with UN before them they mean the opposite.
var flagKeys = map[string]uint8{
	"SEEN": flagSeen, "ANSWERED": flagAnswered, "FLAGGED": flagFlagged, "DELETED": flagDeleted, "DRAFT": flagDraft,
}

func (s *searcher) named(name string) key {
	if bit, found := flagKeys[name]; found {
		return func(m *candidate) answer { return answerIf(m.flags&bit != 0) }
	}
	if bit, found := flagKeys[strings.TrimPrefix(name, "UN")]; found {
		return func(m *candidate) answer { return answerIf(m.flags&bit == 0) }
	}
	switch name {
	case "ALL", "OLD":
		return func(*candidate) answer { return yes }
	case "NEW", "RECENT":
		return func(*candidate) answer { return never }
	case "KEYWORD", "UNKEYWORD":
		s.sp()
		s.while(func(c byte) bool { return isAtomChar(c) || c == '\\' })
		return func(*candidate) answer { return answerIf(name == "UNKEYWORD") } // there are no keywords
	case "NOT":
		s.sp()
		k := s.key()
		return func(m *candidate) answer { return yes - k(m) }
	case "OR":
		s.sp()
		a := s.key()
		s.sp()
		b := s.key()
		return func(m *candidate) answer { return max(a(m), b(m)) }
	case "UID":
		s.sp()
		return s.numbers(true)
	case "MODSEQ":
		return s.modSeqKey()
	case "LARGER", "SMALLER", "YOUNGER", "OLDER":
		s.sp()
		return s.sizeOrAge(name, int64(s.number()))
	}
	return s.dateOrText(name)
}

func (s *searcher) numbers(uid bool) key {
	set := s.numSet()
	if set.saved {
		saved := s.c.saved
		return func(m *candidate) answer { return answerIf(containsUID(saved, m.uid)) }
	}
	highest := uint32(s.c.view.count())
	if uid {
		highest = s.c.view.highest()
	}
	ranges := set.resolve(highest)
	return func(m *candidate) answer {
		if uid {
			return answerIf(inRanges(ranges, m.uid))
		}
		return answerIf(inRanges(ranges, uint32(m.index+1)))
	}
}

// modSeqKey reads MODSEQ [entry type] n (RFC 7162, 3.1.5).
func (s *searcher) modSeqKey() key {
	s.modSeq, s.c.condstore = true, true
	s.sp()
	if s.peek() == '"' {
		s.str()
		s.sp()
		s.atom()
		s.sp()
	}
	n := int64(s.number())
	return func(m *candidate) answer { return answerIf(m.modSeq() >= n) }
}

func (s *searcher) sizeOrAge(name string, n int64) key {
	return func(m *candidate) answer {
		if m.row == nil {
			return unknown
		}
		age := s.now.Sub(m.row.Received)
		seconds := time.Duration(min(n, 1<<33)) * time.Second
		switch name {
		case "LARGER":
			return answerIf(m.row.SizeBytes > n)
		case "SMALLER":
			return answerIf(m.row.SizeBytes < n)
		case "YOUNGER":
			return answerIf(age <= seconds)
		default:
			return answerIf(age >= seconds)
		}
	}
}

func (s *searcher) dateOrText(name string) key {
	switch name {
	case "SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON":
		s.sp()
		return dateKey(name, s.date())
	case "FROM", "TO", "CC", "BCC", "SUBJECT":
		s.sp()
		s.subjects = s.subjects || name == "SUBJECT"
		return headerKey(strings.ToLower(name), s.text())
	case "HEADER":
		s.sp()
		field := foldText(s.astring())
		s.sp()
		return headerKey(field, s.text())
	case "BODY", "TEXT":
		s.sp()
		return s.needle(s.text(), name == "TEXT")
	}
	s.fail("a search key")
	return nil
}

// text takes a string in the charset of the SEARCH, and folds it.
func (s *searcher) text() string { return foldText(s.decode(s.astring())) }

func (s *searcher) needle(text string, header bool) key {
	i := len(s.needles)
	if i >= maxNeedles {
		s.limit("A search has at most " + strconv.Itoa(maxNeedles) + " texts to look for in bodies")
	}
	s.needles = append(s.needles, needle{text, header})
	return func(m *candidate) answer {
		if m.found == nil {
			return unknown
		}
		return answerIf(m.found[i])
	}
}

// date takes a date like 1-Feb-1994, with or without quotes.
func (s *searcher) date() time.Time {
	text := s.astring()
	t, err := time.Parse("2-Jan-2006", text)
	if err != nil {
		s.fail("a date")
	}
	return t
}

// dateKey compares days. A message's own date counts where it was written (RFC 9051, 6.4.4), so that near the day's
// ends the header has to be read.
func dateKey(name string, day time.Time) key {
	op, sent := strings.CutPrefix(name, "SENT")
	return func(m *candidate) answer {
		switch {
		case m.row == nil:
			return unknown
		case !sent:
			return compareDay(op, dayOf(m.row.Received.UTC()), day)
		case m.row.Sent.IsZero():
			return never
		case m.header != nil:
			return compareDay(op, dayOf(m.sent()), day)
		}
		const farthest = 15 * time.Hour // no time zone is farther from UTC
		first, last := dayOf(m.row.Sent.UTC().Add(-farthest)), dayOf(m.row.Sent.UTC().Add(farthest))
		early, late := compareDay(op, first, day), compareDay(op, last, day)
		if early == late && (op != "ON" || day.Before(first) || day.After(last)) {
			return early
		}
		return unknown // a day between the two is neither, and may be the message's
	}
}

func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func compareDay(op string, d, day time.Time) answer {
	switch op {
	case "SINCE":
		return answerIf(!d.Before(day))
	case "BEFORE":
		return answerIf(d.Before(day))
	default:
		return answerIf(d.Equal(day))
	}
}

// headerKey looks for text in a field; empty text wants the field to be there.
func headerKey(field, text string) key {
	return func(m *candidate) answer {
		if m.header != nil {
			return answerIf(m.header.contains(field, text))
		}
		if field != "subject" || text == "" || m.subject == nil {
			return unknown
		}
		switch {
		case strings.Contains(m.subject.text, text):
			return yes
		case m.subject.cut:
			return unknown
		}
		return never
	}
}

// wholeSubject is shorter than where the index cuts subjects.
const wholeSubject = 900
