package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// candidate is a message that SEARCH looks at, with as much of it as was read.
type candidate struct {
	index int
	uid   uint32
	flags uint8
	view  *view
	// subject is known before the rest of the row when it is looked for.
	subject *folded
	row     *store.ObjectRow
	// header is not nil once it was read.
	header *searchHeader
	// found, once the whole message was read, has an answer for each needle.
	found []bool
	// matches is the answer once all was read that the key needs.
	matches bool
	err     error
}

// folded is a text of the index, made comparable.
type folded struct {
	text string
	// cut says that the text may go on in the object.
	cut bool
}

func (m *candidate) modSeq() int64 { return m.view.modSeq(m.uid) }

// findMessages gives the indexes of the messages for which the key holds. It reads no more of each than is needed to
// know: first nothing, then its row in the index, its header, all of it.
func (c *conn) findMessages(ctx context.Context, s *searcher, k key) ([]int, error) {
	var found []int
	for piece := range slices.Chunk(slices.Collect(numbersBelow(c.view.count())), rowsAtOnce) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list := c.candidates(piece)
		matched, open := divide(list, k)
		if s.subjects && len(open) > 0 {
			if err := c.loadSubjects(ctx, open); err != nil {
				return nil, err
			}
			var more []*candidate
			more, open = divide(open, k)
			matched = append(matched, more...)
		}
		if len(open) > 0 {
			if err := c.loadCandidates(ctx, open); err != nil {
				return nil, err
			}
			more, rest := divide(open, k)
			matched = append(matched, more...)
			rest, err := c.readCandidates(ctx, s, k, rest)
			if err != nil {
				return nil, err
			}
			matched = append(matched, rest...)
		}
		for _, m := range matched {
			found = append(found, m.index)
		}
	}
	slices.Sort(found)
	return found, nil
}

func numbersBelow(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (c *conn) candidates(indexes []int) []*candidate {
	all := make([]candidate, len(indexes))
	list := make([]*candidate, len(indexes))
	for n, i := range indexes {
		all[n] = candidate{index: i, uid: c.view.uids[i], flags: c.view.flags[i], view: c.view}
		list[n] = &all[n]
	}
	return list
}

// divide asks the key of each; open are those of which more has to be read.
func divide(list []*candidate, k key) (matched, open []*candidate) {
	for _, m := range list {
		switch k(m) {
		case yes:
			matched = append(matched, m)
		case unknown:
			open = append(open, m)
		}
	}
	return matched, open
}

// loadSubjects reads the subjects of a run of messages, which the index has decoded.
func (c *conn) loadSubjects(ctx context.Context, list []*candidate) error {
	i := 0
	return c.server.deps.Index.FolderSubjects(ctx, c.scope, c.view.id, list[0].uid, list[len(list)-1].uid, func(uid uint32, subject string) {
		for i < len(list) && list[i].uid < uid {
			i++
		}
		if i < len(list) && list[i].uid == uid {
			list[i].subject = &folded{foldText(subject), len(subject) >= wholeSubject}
		}
	})
}

// loadCandidates reads rows. What is gone gets a row without a message, which matches little.
func (c *conn) loadCandidates(ctx context.Context, list []*candidate) error {
	rows := make([]*fetched, len(list))
	for i, m := range list {
		rows[i] = &fetched{index: m.index, uid: m.uid}
	}
	if err := c.readRows(ctx, rows); err != nil {
		return err
	}
	for i, m := range list {
		m.row = &rows[i].row
	}
	return nil
}

// readCandidates reads headers and bodies of what is still open, several at once, and gives those that match.
func (c *conn) readCandidates(ctx context.Context, s *searcher, k key, list []*candidate) ([]*candidate, error) {
	var matched []*candidate
	for piece := range slices.Chunk(list, objectsAtOnce) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		inParallel(piece, func(m *candidate) { m.err = c.server.readCandidate(ctx, s, k, m) })
		for _, m := range piece {
			if m.err != nil {
				return nil, m.err
			}
			if m.matches {
				matched = append(matched, m)
			}
		}
	}
	return matched, nil
}

func (s *Server) readCandidate(ctx context.Context, q *searcher, k key, m *candidate) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.metrics.panics.Inc()
			err = fmt.Errorf("message %s: panic: %v", m.row.ID, v)
		}
	}()
	if err = ctx.Err(); err != nil {
		return err
	}
	if m.row.ID != "" { // else it went meanwhile
		err = s.scanAsFar(ctx, q, k, m)
	}
	if m.row.ID == "" || isLost(err) { // one message keeps nobody from finding others
		m.header, m.found, err = newSearchHeader(""), make([]bool, len(q.needles)), nil
		m.matches = k(m) == yes
	}
	m.header, m.found = nil, nil // what was read of it is not needed any more
	return err
}

// isLost says whether an error is of one message, for as long as nobody puts it back.
func isLost(err error) bool {
	return errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrKeyDestroyed)
}

// scanAsFar reads the header, and the rest if the key wants it.
func (s *Server) scanAsFar(ctx context.Context, q *searcher, k key, m *candidate) error {
	header, _, err := s.header(ctx, *m.row)
	if err != nil {
		return err
	}
	m.header = newSearchHeader(header)
	answer := k(m)
	if answer == unknown {
		if err := s.scan(ctx, q, m); err != nil {
			return err
		}
		answer = k(m)
	}
	m.matches = answer == yes
	return nil
}

// sent is the message's own date, in its own time zone.
func (m *candidate) sent() time.Time {
	if dates := m.header.named["date"]; len(dates) > 0 {
		if t := mail.ParseDate(dates[0].value); !t.IsZero() {
			return t
		}
	}
	return m.row.Sent.UTC()
}

// foldText makes texts comparable: wide and narrow forms, capitals and small letters are the same, and so are the two
// characters that one sign of JIS X 0208 becomes, by the book or by Microsoft's tables.
func foldText(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return strings.Map(foldRune, norm.NFKC.String(s))
		}
	}
	return strings.ToLower(s)
}

// foldRune folds what NFKC leaves apart; it makes "~" of U+FF5E, "-" of U+FF0D, and one of the two of ¢, £ and ¬.
func foldRune(r rune) rune {
	switch r {
	case '\u301c': // wave dash
		return '~'
	case '\u2212': // minus sign
		return '-'
	case '\u2016': // double vertical line, parallel to
		return '\u2225'
	case '\u2014': // em dash, horizontal bar
		return '\u2015'
	}
	return unicode.ToLower(r)
}

// maxSearchText is how much of one part is searched.
const maxSearchText = 8 << 20

// scan looks for all needles in the whole message.
func (s *Server) scan(ctx context.Context, q *searcher, m *candidate) error {
	root, err := s.structure(ctx, *m.row)
	if err != nil {
		return err
	}
	m.found = make([]bool, len(q.needles))
	for i, n := range q.needles {
		m.found[i] = n.text == ""
	}
	m.header.look(q.needles, m.found, func(f *searchField, n needle) bool {
		return n.header && (strings.Contains(f.name, n.text) || f.contains(n.text))
	})
	from := &cursor{server: s, object: *m.row}
	defer from.close()
	return from.scan(ctx, q, m, root, true)
}

// scan looks into a part and those inside it, in the order in which they stand in the message.
func (r *cursor) scan(ctx context.Context, q *searcher, m *candidate, p *part, isRoot bool) error {
	if !slices.Contains(m.found, false) {
		return nil
	}
	if !isRoot {
		if err := r.scanHeader(ctx, q, m, p); err != nil {
			return err
		}
	}
	for _, child := range p.children {
		if err := r.scan(ctx, q, m, child, false); err != nil {
			return err
		}
	}
	if p.kind != leaf || p.typed && !strings.EqualFold(p.typ, "text") {
		return nil
	}
	text, err := r.text(ctx, p)
	if err != nil {
		return err
	}
	text = foldText(text)
	for i, n := range q.needles {
		m.found[i] = m.found[i] || strings.Contains(text, n.text)
	}
	return nil
}

// scanHeader looks into the header of a part: of an attached message for its subject, of others for their names.
func (r *cursor) scanHeader(ctx context.Context, q *searcher, m *candidate, p *part) error {
	header, err := r.piece(ctx, byteRange{p.header, min(p.body, p.header+maxHeaderBytes)})
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(header)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.object.Key, err)
	}
	newSearchHeader(string(raw)).look(q.needles, m.found, func(f *searchField, n needle) bool { return f.contains(n.text) })
	return nil
}

// text reads a part of text as people see it.
func (r *cursor) text(ctx context.Context, p *part) (string, error) {
	body, err := r.piece(ctx, byteRange{p.body, p.end})
	if err != nil {
		return "", err
	}
	source := &failing{r: body}
	// Decoded as API and Web UI do, which show more than a strict reader would.
	raw, _ := io.ReadAll(io.LimitReader(mail.Part{Encoding: strings.ToLower(p.encoding.s)}.Decode(source), maxSearchText))
	if source.err != nil {
		return "", source.err
	}
	charset, _ := get(p.params, "charset")
	text, _ := mail.DecodeText(charset, raw)
	return text, nil
}

// failing remembers with what its source failed.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
