package safe

import "strings"

// Bounds on what one body may hold. A browser flattens beyond 512 levels; reports of 10,000 rows stay below the number of elements.
const (
	maxDepth    = 200
	maxElements = 120_000
	maxOutput   = 24 << 20 // with images
	maxReopened = 8        // formatting that one end tag carries on
	reopenBytes = 256      // its longest start tag
)

// tag is an element that is open: what was written for it, and whether its end was asked for while a block inside it was open.
type tag struct {
	name    string
	kind    kind
	start   string
	closing bool
}

// nest writes tags so that each one is closed in the element it was opened in.
type nest struct {
	out      strings.Builder
	open     []tag
	elements int
	full     bool // something was left out because of a bound
	onClose  func(t tag) string
}

// room says whether another element may be written, n bytes long.
func (n *nest) room(size int) bool {
	if n.elements >= maxElements || n.out.Len()+size > maxOutput {
		n.full = true
		return false
	}
	return true
}

func (n *nest) text(escaped string) {
	if n.out.Len()+len(escaped) > maxOutput {
		n.full = true
		return
	}
	n.out.WriteString(escaped)
}

// prepare makes room for a start tag: it closes what that closes. It says no if the element must be left out.
func (n *nest) prepare(name string, k kind) bool {
	if rule, ok := closeRuleOf(name, k); ok {
		if i := n.outermost(rule); i >= 0 {
			n.closeTo(i, k != cell && k != row && k != group)
		}
	}
	if k != void && len(n.open) >= maxDepth {
		n.full = true
		return false
	}
	return n.room(0)
}

// outermost finds the element furthest out that rule closes, or -1.
func (n *nest) outermost(rule closeRule) int {
	found := -1
	for i := len(n.open) - 1; i >= 0; i-- {
		t := n.open[i]
		if rule.stops(t.name, t.kind) {
			break
		}
		if rule.closes(t.name, t.kind) {
			found = i
		}
	}
	return found
}

// begin writes a start tag. The caller asked prepare before.
func (n *nest) begin(name string, k kind, start string) {
	n.elements++
	n.out.WriteString(start)
	if k != void {
		n.open = append(n.open, tag{name: name, kind: k, start: start})
	}
}

// end closes the innermost name that may be closed from here; an end tag without one is left out.
func (n *nest) end(name string, k kind) {
	stops := atCell
	if k >= cell {
		stops = atTable
	}
	crossed := false
	for i := len(n.open) - 1; i >= 0; i-- {
		t := &n.open[i]
		if t.name == name && !t.closing {
			if crossed && k <= format {
				t.closing = true
				return
			}
			n.closeTo(i, k == block || k == item || k <= format)
			return
		}
		if stops(t.name, t.kind) {
			return
		}
		crossed = crossed || t.kind >= block
	}
}

// closeTo closes all from the i-th open element on, then what waited for that, and opens the formatting that a browser would
// carry on (13.2.4.3), in bounds.
func (n *nest) closeTo(i int, reopen bool) {
	var again []tag
	for j := len(n.open) - 1; j >= i; j-- {
		t := n.open[j]
		n.pop()
		if j > i && t.kind == format && !t.closing && len(t.start) <= reopenBytes && len(again) < maxReopened {
			again = append(again, t)
		}
	}
	for len(n.open) > 0 && n.open[len(n.open)-1].closing {
		n.pop()
	}
	for j := len(again) - 1; reopen && j >= 0 && n.room(len(again[j].start)); j-- {
		n.begin(again[j].name, again[j].kind, again[j].start)
	}
}

func (n *nest) pop() {
	t := n.open[len(n.open)-1]
	n.open = n.open[:len(n.open)-1]
	n.out.WriteString("</" + t.name + ">")
	if n.onClose != nil {
		n.out.WriteString(n.onClose(t))
	}
}

// has says whether name is open.
func (n *nest) has(name string) bool {
	for i := range n.open {
		if n.open[i].name == name {
			return true
		}
	}
	return false
}
