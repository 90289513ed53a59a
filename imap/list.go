package imap

import (
	"context"
	"slices"
	"strings"
)

// maxPatterns bounds one LIST.
const maxPatterns = 100

// listing is a LIST command (RFC 3501, 6.3.8; RFC 5258).
type listing struct {
	word      string
	reference string
	patterns  []string
	// specialOnly and extended: what was selected and how it was asked for.
	specialOnly, extended bool
	subscribed            bool
	status                []string
}

func (c *conn) list(ctx context.Context, cmd *command) error {
	p, l := cmd.args, listing{word: "LIST"}
	p.sp()
	if p.peek() == '(' {
		l.extended = true
		p.list(func() { l.selectOption(p) })
		p.sp()
	}
	l.readNames(p)
	if p.err == nil && p.b != "" {
		l.extended = true
		l.readReturn(p)
	}
	p.end()
	if p.err != nil {
		return p.err
	}
	return c.writeList(ctx, l)
}

func (c *conn) lsub(ctx context.Context, cmd *command) error {
	p, l := cmd.args, listing{word: "LSUB"}
	p.sp()
	l.readNames(p)
	p.end()
	if p.err != nil {
		return p.err
	}
	return c.writeList(ctx, l)
}

func (l *listing) selectOption(p *parser) {
	switch p.keyword() {
	case "SUBSCRIBED":
		l.subscribed = true
	case "SPECIAL-USE":
		l.specialOnly = true
	case "REMOTE", "RECURSIVEMATCH":
		// Nothing is remote, and everything is subscribed.
	default:
		p.fail("a selection option")
	}
}

func (l *listing) readNames(p *parser) {
	l.reference, _ = decodeUTF7(p.astring())
	p.sp()
	pattern := func() {
		if len(l.patterns) >= maxPatterns {
			p.fail("fewer patterns")
			return
		}
		l.patterns = append(l.patterns, p.decodeName(p.listMailbox()))
	}
	if p.peek() == '(' {
		l.extended = true
		p.list(pattern)
		return
	}
	pattern()
}

func (l *listing) readReturn(p *parser) {
	p.sp()
	if p.keyword() != "RETURN" {
		p.fail("RETURN")
	}
	p.sp()
	p.list(func() {
		switch p.keyword() {
		case "SUBSCRIBED":
			l.subscribed = true
		case "CHILDREN", "SPECIAL-USE":
			// They are told in any case.
		case "STATUS":
			p.sp()
			l.status = p.statusItems()
		default:
			p.fail("a return option")
		}
	})
}

func (c *conn) writeList(ctx context.Context, l listing) error {
	if len(l.patterns) == 1 && l.patterns[0] == "" && !l.extended {
		c.out.line("* " + l.word + ` (\Noselect) "/" ""`) // asks for the delimiter (RFC 3501, 6.3.8)
		return nil
	}
	boxes, err := c.boxes(ctx)
	if err != nil {
		return err
	}
	for i := range boxes {
		b := &boxes[i]
		if !l.matches(b) {
			continue
		}
		line := append([]byte("* "+l.word+" ("), l.attributes(b)...)
		c.out.line(string(appendName(append(line, `) "/" `...), b.name)))
		if len(l.status) > 0 && b.folder != nil {
			if err := c.writeStatus(ctx, b, l.status); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *listing) matches(b *box) bool {
	if l.specialOnly && b.use == "" || b.folder == nil && (l.subscribed || l.word == "LSUB") {
		return false
	}
	return slices.ContainsFunc(l.patterns, func(p string) bool { return matchName(l.reference+p, b.name) })
}

func (l *listing) attributes(b *box) string {
	var list []string
	if b.folder == nil {
		list = append(list, `\Noselect`)
	}
	if b.hasChildren {
		list = append(list, `\HasChildren`)
	} else {
		list = append(list, `\HasNoChildren`)
	}
	if b.use != "" {
		list = append(list, b.use)
	}
	if l.subscribed && b.folder != nil {
		list = append(list, `\Subscribed`)
	}
	return strings.Join(list, " ")
}

// matchName matches a name against a pattern, in which "*" stands for anything and "%" for anything in one level. It
// takes time in proportion to both lengths. INBOX is matched in any case of letters.
func matchName(pattern, name string) bool {
	if strings.EqualFold(pattern, "INBOX") {
		return name == "INBOX"
	}
	// reach[j] says that the pattern so far can end before name[j].
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(name)+1)
		for j := range reach {
			switch pattern[i] {
			case '*', '%':
				across := j > 0 && next[j-1] && (pattern[i] == '*' || name[j-1] != delimiter[0])
				next[j] = reach[j] || across
			default:
				next[j] = j > 0 && reach[j-1] && sameByte(pattern[i], name[j-1], name)
			}
		}
		reach = next
	}
	return reach[len(name)]
}

func sameByte(a, b byte, name string) bool {
	if name == "INBOX" && a >= 'a' && a <= 'z' {
		a -= 'a' - 'A'
	}
	return a == b
}
