package imap

import (
	"context"
	"time"

	"slices"
)

// resync is the QRESYNC parameter of SELECT (RFC 7162, 3.2.5): what the client knew of the folder.
type resync struct {
	uidValidity uint32
	modSeq      int64
	known       numSet
}

// selectFolder opens a folder, always read-only.
func (c *conn) selectFolder(ctx context.Context, cmd *command) error {
	p := cmd.args
	p.sp()
	name := p.mailbox()
	known, err := c.selectOptions(p)
	if err != nil {
		return err
	}
	if c.view != nil {
		c.closeFolder()
		c.out.line("* OK [CLOSED] The mailbox before is closed")
	}
	b, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	f := c.server.hub.open(b.folder.ID)
	snap, err := c.server.hub.refresh(ctx, f, b.folder.Folder)
	if err != nil {
		c.server.hub.close(f)
		return err
	}
	c.view = &view{name: b.name, id: b.folder.ID, folder: f, snap: snap, uids: snap.uids, flags: snap.flags, looked: time.Now()}
	c.state = selected
	c.opened(b.folder.Mailbox)
	c.describe(snap)
	if known != nil && known.uidValidity == snap.uidValidity {
		if err := c.catchUp(ctx, *known); err != nil {
			c.closeFolder()
			return err
		}
	}
	return okCode("READ-ONLY", cmd.name+" completed")
}

// selectOptions reads (CONDSTORE) and (QRESYNC (…)) after the name.
func (c *conn) selectOptions(p *parser) (*resync, error) {
	var known *resync
	if p.err == nil && p.b != "" {
		p.sp()
		p.list(func() {
			switch p.keyword() {
			case "CONDSTORE":
				c.condstore = true
			case "QRESYNC":
				if !c.qresync {
					p.fail("ENABLE QRESYNC before")
					return
				}
				p.sp()
				known = p.resync()
			default:
				p.fail("a select option")
			}
		})
	}
	p.end()
	return known, p.err
}

func (p *parser) resync() *resync {
	r := &resync{known: numSet{ranges: []numRange{{1, star}}}}
	p.expect('(')
	r.uidValidity = p.number32()
	p.sp()
	r.modSeq = int64(p.number())
	if p.take(' ') && p.peek() != '(' {
		r.known = p.numSet()
		p.take(' ')
	}
	if p.take('(') { // the sequence match data: a hint to save work, which we don't need
		p.numSet()
		p.sp()
		p.numSet()
		p.expect(')')
	}
	p.expect(')')
	return r
}

func (c *conn) describe(snap *snapshot) {
	c.out.line(`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`)
	c.out.line("* OK [PERMANENTFLAGS ()] Nothing can be changed here")
	c.out.number2("* ", int64(len(snap.uids)), " EXISTS")
	c.out.line("* 0 RECENT")
	if first := slices.IndexFunc(snap.flags, func(f uint8) bool { return f&flagSeen == 0 }); first >= 0 {
		c.out.number2("* OK [UNSEEN ", int64(first+1), "] The first unseen message")
	}
	c.out.number2("* OK [UIDVALIDITY ", int64(snap.uidValidity), "] UIDs are valid")
	c.out.number2("* OK [UIDNEXT ", snap.uidNext, "] The next UID")
	c.out.number2("* OK [HIGHESTMODSEQ ", max(snap.modSeq, 1), "] The highest mod-sequence")
}

// catchUp tells what went and what changed since the client's last visit (RFC 7162, 3.2.5.1).
func (c *conn) catchUp(ctx context.Context, r resync) error {
	ranges := r.known.resolve(c.view.snap.highestGiven())
	if err := c.tellVanished(ctx, r.modSeq, ranges); err != nil {
		return err
	}
	for i, uid := range c.view.uids {
		if c.view.snap.modSeqs[i] > r.modSeq && inRanges(ranges, uid) {
			c.tellFlags(uid)
		}
	}
	return nil
}

// tellVanished tells which UIDs of the ranges are gone since a mod-sequence. Those that still have a number here are left
// out: EARLIER changes no numbers (RFC 7162, 3.2.10), and a client that has forgotten them would not know what
// number the VANISHED that follows takes away.
func (c *conn) tellVanished(ctx context.Context, modSeq int64, ranges []numRange) error {
	gone, err := c.server.deps.Index.ExpungedSince(ctx, c.scope, c.view.id, modSeq)
	if err != nil {
		return err
	}
	gone = slices.DeleteFunc(gone, func(uid uint32) bool { return !inRanges(ranges, uid) || containsUID(c.view.uids, uid) })
	if len(gone) > 0 {
		c.out.line("* VANISHED (EARLIER) ", formatNumbers(gone))
	}
	return nil
}

// unselect leaves the folder. CLOSE is the same here: there is nothing to expunge.
func (c *conn) unselect(_ context.Context, cmd *command) error {
	cmd.args.end()
	if cmd.args.err == nil {
		c.closeFolder()
	}
	return cmd.args.err
}
