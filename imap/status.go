package imap

import (
	"context"
	"slices"
)

// statusNames are the items of STATUS (RFC 9051, 6.3.11; RFC 7162; RECENT of RFC 3501).
var statusNames = []string{"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ"}

func (p *parser) statusItems() []string {
	var items []string
	p.list(func() {
		name := p.keyword()
		if !slices.Contains(statusNames, name) {
			p.fail("a status item")
		}
		if !slices.Contains(items, name) {
			items = append(items, name)
		}
	})
	return items
}

func (c *conn) status(ctx context.Context, cmd *command) error {
	p := cmd.args
	p.sp()
	name := p.mailbox()
	p.sp()
	items := p.statusItems()
	p.end()
	if p.err != nil {
		return p.err
	}
	b, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	return c.writeStatus(ctx, b, items)
}

func (c *conn) writeStatus(ctx context.Context, b *box, items []string) error {
	values := map[string]int64{
		"MESSAGES": b.folder.Messages, "RECENT": 0, "UIDNEXT": b.folder.UIDNext, "UIDVALIDITY": int64(b.folder.UIDValidity),
		"HIGHESTMODSEQ": b.folder.ModSeq,
	}
	if slices.Contains(items, "HIGHESTMODSEQ") {
		c.condstore = true // RFC 7162, 3.1: asking for it enables it
	}
	if c.qresync && c.view != nil && c.view.id == b.folder.ID {
		values["HIGHESTMODSEQ"] = min(b.folder.ModSeq, c.view.snap.modSeq) // no more than it was told of, see tell
	}
	if slices.Contains(items, "SIZE") {
		size, err := c.server.deps.Index.FolderBytes(ctx, c.scope, b.folder.ID)
		if err != nil {
			return err
		}
		values["SIZE"] = size
	}
	if slices.Contains(items, "UNSEEN") || slices.Contains(items, "DELETED") {
		f := c.server.hub.open(b.folder.ID)
		defer c.server.hub.close(f)
		snap, err := c.server.hub.refresh(ctx, f, b.folder.Folder)
		if err != nil {
			return err
		}
		values["UNSEEN"], values["DELETED"] = int64(snap.unseen), snap.deleted()
	}
	c.out.text("* STATUS ", string(appendName(nil, b.name)), " (")
	for i, name := range items {
		if i > 0 {
			c.out.text(" ")
		}
		c.out.text(name, " ")
		c.out.number(values[name])
	}
	c.out.line(")")
	return nil
}

func (s *snapshot) deleted() (n int64) {
	for _, flags := range s.flags {
		if flags&flagDeleted != 0 {
			n++
		}
	}
	return n
}
