package milter

import (
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/mairust/mairust/internal/mail"
)

// Bounds of what sources may do to a header.
const (
	maxEdits     = 256
	maxFieldName = 200
	maxEditBytes = 64 << 10
)

// edit makes the header what the verdict wants: forged fields go, the edits of the sources are made,
// and the signed scan header comes on top.
//
// Position 0 is above Postfix's own Received field (position 1 is below it), so the scan header is
// the very first field that LMTP sees. Postfix hides the first field from milters that come after
// this one, so that they neither sign it nor take it for the sender's.
func (s *session) edit(mod *gomilter.Modifier, v mail.Verdict, hold bool) error {
	e := newEditor(mod, s.msg.header, s.has(gomilter.OptHeaderLeadingSpace))
	for _, f := range s.msg.forged {
		for i := f.count; i >= 1; i-- { // from the last one, so that the numbers of the others stay
			if err := mod.ChangeHeader(i, f.name, ""); err != nil {
				return fmt.Errorf("remove %s: %w", f.name, err)
			}
		}
		s.srv.metrics.forged.Add(float64(f.count))
	}
	if over := len(v.Edits) - maxEdits; over > 0 {
		s.srv.log.Warn("header edits left out", "queue_id", s.msg.queueID, "count", over)
		v.Edits = v.Edits[:maxEdits]
	}
	for _, edit := range v.Edits {
		if !e.valid(edit) {
			s.srv.log.Warn("header edit left out", "queue_id", s.msg.queueID, "field", mail.Clean(edit.Name, 80))
			continue
		}
		if err := e.apply(edit); err != nil {
			return fmt.Errorf("edit %s: %w", edit.Name, err)
		}
	}
	scan := mail.Scan{
		Time:    s.srv.now(),
		Host:    s.host,
		QueueID: s.msg.queueID,
		Action:  v.Action,
		Tags:    v.Tags,
		Score:   v.Score,
		Sender:  s.msg.from,
		Body:    s.msg.body.Sum(),
	}
	if err := mod.InsertHeader(0, mail.ScanField, e.value(scan.Value(s.srv.mac))); err != nil {
		return fmt.Errorf("insert %s: %w", mail.ScanField, err)
	}
	if !hold {
		return nil
	}
	if err := mod.Quarantine("quarantined by MaiRust"); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	return nil
}

// editor turns edits into milter commands. It keeps count of the fields by name, because the protocol
// wants every field that goes named by its number.
type editor struct {
	mod    *gomilter.Modifier
	prefix string         // what stands between colon and value
	count  map[string]int // by lower-case name
}

func newEditor(mod *gomilter.Modifier, header []mail.Field, leadingSpace bool) *editor {
	e := &editor{mod: mod, count: map[string]int{}}
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
	return !strings.HasPrefix(strings.ToLower(edit.Name), ownPrefix)
}

// authResults says what checks of the sender gave. Whoever reads it believes only those above the Received field of
// our own host (RFC 8601, 4): anybody can have written what is below. So it always goes on top.
const authResults = "authentication-results"

func (e *editor) apply(edit mail.Edit) error {
	name := strings.ToLower(edit.Name)
	if name == authResults && (edit.Op == mail.AppendField || edit.Op == mail.InsertField) {
		edit.Op, edit.Index = mail.InsertField, 0
	}
	switch edit.Op {
	case mail.AppendField:
		e.count[name]++
		return e.mod.AddHeader(edit.Name, e.value(edit.Value))
	case mail.InsertField:
		e.count[name]++
		return e.mod.InsertHeader(edit.Index, edit.Name, e.value(edit.Value))
	case mail.ReplaceField:
		return e.replace(edit, name)
	case mail.RemoveField:
		return e.remove(edit, name)
	}
	return fmt.Errorf("unknown operation %d", edit.Op)
}

// replace changes one field or every one of the name. A name that is not there is added.
func (e *editor) replace(edit mail.Edit, name string) error {
	if e.count[name] == 0 {
		e.count[name]++
		return e.mod.AddHeader(edit.Name, e.value(edit.Value))
	}
	if edit.Index > 0 {
		return e.mod.ChangeHeader(edit.Index, edit.Name, e.value(edit.Value))
	}
	for i := e.count[name]; i >= 1; i-- {
		if err := e.mod.ChangeHeader(i, edit.Name, e.value(edit.Value)); err != nil {
			return err
		}
	}
	return nil
}

// remove takes away one field or every one of the name; the milter protocol knows that as a change to
// an empty value.
func (e *editor) remove(edit mail.Edit, name string) error {
	first, last := 1, e.count[name]
	if edit.Index > 0 {
		first, last = edit.Index, min(edit.Index, last)
	}
	for i := last; i >= first; i-- {
		if err := e.mod.ChangeHeader(i, edit.Name, ""); err != nil {
			return err
		}
		e.count[name]--
	}
	return nil
}

// value makes v safe as a field body: no NUL, no bare CR, and every further line begins with white
// space, so that it can't be a field of its own.
func (e *editor) value(v string) string {
	v = strings.NewReplacer("\r\n", "\n", "\r", "", "\x00", "").Replace(v)
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
