package milter

import (
	"encoding/binary"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// Bounds of what sources may do to a header.
const (
	// maxChanges bounds the changes to one header. An edit of every field of a name makes one for each, and Postfix reads the
	// header up to the field for each: 256 at the end of a header of 1 MB take it 1 s. All of 10,000 fields of one name, 80 kB,
	// take it 2 s, and of 20,000 9 s.
	maxChanges   = 256
	maxFieldName = 200
	maxEditBytes = 64 << 10
)

// edit makes the header what the verdict wants: forged fields go, the edits of the sources are made,
// and the signed scan header comes on top.
//
// Position 0 is above Postfix's own Received field (position 1 is below it), so the scan header is
// the very first field that LMTP sees. Postfix hides the first field from milters that come after
// this one, so that they neither sign it nor take it for the sender's.
func (s *session) edit(v mail.Verdict, hold bool) {
	e := newEditor(s.wire, s.msg.header, s.has(leadingSpaces))
	for _, f := range s.msg.forged {
		for i := f.count; i >= 1; i-- { // from the last one, so that the numbers of the others stay
			e.change(i, f.name, "")
		}
		s.srv.metrics.forged.Add(float64(f.count))
	}
	s.editFor(e, v.Edits)
	scan := mail.Scan{
		Time:         s.srv.now(),
		Host:         s.host,
		QueueID:      s.msg.queueID,
		SenderDigest: mail.DigestSender(s.msg.from),
		Action:       v.Action,
		Tags:         v.Tags,
		Score:        v.Score,
		Body:         s.msg.body.Sum(),
	}
	e.insert(0, mail.ScanField, scan.Value(s.srv.mac))
	if hold {
		s.wire.say(holdMessage, "quarantined by MaiRust\x00")
	}
}

// editFor makes the edits of the sources, each whole or not at all.
func (s *session) editFor(e *editor, edits []mail.Edit) {
	left, leftOut := maxChanges, 0
	for _, edit := range edits {
		n := e.changes(edit)
		if n > left {
			leftOut++
			continue
		}
		left -= n
		if !e.valid(edit) {
			s.srv.log.Warn("header edit left out", "queue_id", s.msg.queueID, "field", mail.Clean(edit.Name, 80))
			continue
		}
		e.apply(edit)
	}
	if leftOut > 0 {
		s.srv.log.Warn("header edits left out", "queue_id", s.msg.queueID, "count", leftOut)
		s.srv.metrics.leftOut.Add(float64(leftOut))
	}
}

// editor turns edits into milter commands. It keeps count of the fields by name, because the protocol
// wants every field that goes named by its number.
type editor struct {
	wire   *wire
	prefix string         // what stands between colon and value
	count  map[string]int // by lower-case name
}

func newEditor(w *wire, header []mail.Field, leadingSpace bool) *editor {
	e := &editor{wire: w, count: map[string]int{}}
	if leadingSpace {
		e.prefix = " "
	}
	for _, f := range header {
		e.count[strings.ToLower(f.Name)]++
	}
	return e
}

// valid tells whether an edit can be made: a name of RFC 5322, 3.6.8 that is not one of ours.
func (e *editor) valid(edit mail.Edit) bool {
	if edit.Name == "" || len(edit.Name) > maxFieldName || len(edit.Value) > maxEditBytes || edit.Index < 0 {
		return false
	}
	if strings.IndexFunc(edit.Name, func(c rune) bool { return c <= ' ' || c > '~' || c == ':' }) >= 0 {
		return false
	}
	return edit.Op >= mail.AppendField && edit.Op <= mail.RemoveField && !strings.HasPrefix(strings.ToLower(edit.Name), ownPrefix)
}

// changes is how many changes an edit makes at most, and at least 1.
func (e *editor) changes(edit mail.Edit) int {
	if edit.Index == 0 && (edit.Op == mail.ReplaceField || edit.Op == mail.RemoveField) {
		return max(1, e.count[strings.ToLower(edit.Name)])
	}
	return 1
}

// authResults says what checks of the sender gave. Whoever reads it believes only those above the Received field of
// our own host (RFC 8601, 4): anybody can have written what is below. So it always goes on top.
const authResults = "authentication-results"

func (e *editor) apply(edit mail.Edit) {
	name := strings.ToLower(edit.Name)
	if name == authResults && (edit.Op == mail.AppendField || edit.Op == mail.InsertField) {
		edit.Op, edit.Index = mail.InsertField, 0
	}
	switch edit.Op {
	case mail.AppendField:
		e.count[name]++
		e.add(edit.Name, edit.Value)
	case mail.InsertField:
		e.count[name]++
		e.insert(edit.Index, edit.Name, edit.Value)
	case mail.ReplaceField:
		e.replace(edit, name)
	case mail.RemoveField:
		e.remove(edit, name)
	}
}

// replace changes one field or every one of the name. A name that is not there is added.
func (e *editor) replace(edit mail.Edit, name string) {
	if e.count[name] == 0 {
		e.count[name]++
		e.add(edit.Name, edit.Value)
		return
	}
	first, last := 1, e.count[name]
	if edit.Index > 0 {
		first, last = edit.Index, edit.Index
	}
	for i := last; i >= first; i-- {
		e.change(i, edit.Name, e.value(edit.Value))
	}
}

// remove takes away one field or every one of the name.
func (e *editor) remove(edit mail.Edit, name string) {
	first, last := 1, e.count[name]
	if edit.Index > 0 {
		first, last = edit.Index, min(edit.Index, last)
	}
	for i := last; i >= first; i-- {
		e.change(i, edit.Name, "")
		e.count[name]--
	}
}

// add puts a field at the end of the header.
func (e *editor) add(name, value string) {
	e.wire.say(addField, name, "\x00", e.value(value), "\x00")
}

// insert puts a field at a position from the top.
func (e *editor) insert(at int, name, value string) {
	e.wire.say(insertField, number(at), name, "\x00", e.value(value), "\x00")
}

// change gives the i-th field of a name, from 1, this very value; an empty one takes the field away.
func (e *editor) change(i int, name, value string) {
	e.wire.say(changeField, number(i), name, "\x00", value, "\x00")
}

// number is a position as the protocol has it.
func number(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

// unsafeBytes makes line ends LF and takes out what no field may have.
var unsafeBytes = strings.NewReplacer("\r\n", "\n", "\r", "", "\x00", "")

// value makes v safe as a field body: no NUL, no bare CR, and every further line begins with white
// space, so that it can't be a field of its own.
func (e *editor) value(v string) string {
	v = unsafeBytes.Replace(v)
	lines := strings.Split(strings.Trim(v, "\n"), "\n")
	kept := lines[:1]
	for _, line := range lines[1:] {
		if strings.TrimSpace(line) == "" {
			continue // a line of nothing but white space is obsolete, and an empty one ends the header
		}
		if line[0] != ' ' && line[0] != '\t' {
			line = "\t" + line
		}
		kept = append(kept, line)
	}
	return e.prefix + strings.Join(kept, "\n")
}
