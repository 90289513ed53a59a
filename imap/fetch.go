package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// fetch answers FETCH and UID FETCH (RFC 9051, 6.4.5). Nothing here sets \Seen.
func (c *conn) fetch(ctx context.Context, cmd *command) error {
	p := cmd.args
	p.sp()
	set := p.numSet()
	p.sp()
	r := p.fetchRequest()
	if p.err != nil {
		return p.err
	}
	if r.vanished && (!cmd.uid || !c.qresync || r.since < 0) {
		return bad("VANISHED is for UID FETCH with CHANGEDSINCE, after ENABLE QRESYNC")
	}
	if r.has(itemModSeq) {
		c.condstore = true
	}
	if cmd.uid {
		r.items = slices.Insert(slices.DeleteFunc(r.items, func(i item) bool { return i.kind == itemUID }), 0, item{label: "UID"})
	}
	indexes, err := c.indexes(set, cmd.uid)
	if err != nil {
		return err
	}
	if r.vanished {
		if err := c.tellVanished(ctx, r.since, set.resolve(c.view.snap.highestGiven())); err != nil {
			return err
		}
	}
	if err := c.fetchAll(ctx, r, indexes); err != nil {
		return err
	}
	c.afterCommand(ctx, cmd.uid)
	return nil
}

// afterCommand tells news that may be told at the end of a command.
func (c *conn) afterCommand(ctx context.Context, uid bool) {
	t := noExpunges
	if uid {
		t = expunges
	}
	if err := c.refresh(ctx, t); err != nil {
		c.log.Warn("folder not refreshed", "err", err) // the command itself went well
	}
}

// Messages that are looked at together: many when the database alone is asked, few when objects are read, which are
// read by so many at once.
const (
	rowsAtOnce    = 1000
	objectsAtOnce = 32
	readersAtOnce = 8
	// Messages up to smallBytes are read whole beforehand, larger ones streamed.
	smallBytes = 64 << 10
)

func (c *conn) fetchAll(ctx context.Context, r *fetchRequest, indexes []int) error {
	if r.since >= 0 {
		indexes = slices.DeleteFunc(indexes, func(i int) bool { return c.view.modSeq(c.view.uids[i]) <= r.since })
	}
	var result fetchResult
	for piece := range slices.Chunk(indexes, rowsAtOnce) {
		list, err := c.rows(ctx, r.needs(), piece)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(list, objectsAtOnce) {
			if err := c.writeMessages(ctx, r, some, &result); err != nil {
				return err
			}
		}
	}
	switch {
	case result.failed != nil:
		return result.failed
	case result.expunged:
		return no("EXPUNGEISSUED", "Some of these messages are gone")
	}
	return nil
}

// fetchResult is what went wrong with single messages; the others were written.
type fetchResult struct {
	failed   error
	expunged bool
}

// writeMessages reads what is needed of some messages and writes them. Its error ends the FETCH.
func (c *conn) writeMessages(ctx context.Context, r *fetchRequest, list []*fetched, result *fetchResult) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n := r.needs(); n.objects() {
		c.readObjects(ctx, n, list)
	}
	for _, m := range list {
		if m.gone {
			result.expunged = true
			continue
		}
		err := m.err
		if err == nil {
			err = c.writeMessage(ctx, r, m)
		}
		if c.broken != nil {
			return c.broken
		}
		if err != nil && result.failed == nil {
			result.failed = err
		}
		*m = fetched{} // what was read of it is not needed any more
	}
	return nil
}

// fetched is a message on its way out.
type fetched struct {
	index     int
	uid       uint32
	row       store.ObjectRow
	gone      bool
	err       error
	envelope  string
	header    string
	structure *part
	// raw is the whole message, when bodies are wanted and it is small.
	raw []byte
}

// rows reads the rows of some messages, if they are needed.
func (c *conn) rows(ctx context.Context, n needs, indexes []int) ([]*fetched, error) {
	list := make([]*fetched, 0, len(indexes))
	for _, i := range indexes {
		list = append(list, &fetched{index: i, uid: c.view.uids[i]})
	}
	if !n.row {
		return list, nil
	}
	return list, c.readRows(ctx, list)
}

func (c *conn) readRows(ctx context.Context, list []*fetched) error {
	if len(list) == 0 {
		return nil
	}
	rows := make(map[uint32]store.ObjectRow, len(list))
	take := func(r store.ObjectRow) { rows[r.UID] = r }
	first, last := list[0].uid, list[len(list)-1].uid
	var err error
	if index := c.server.deps.Index; int(last-first) < 2*len(list) {
		err = index.FolderObjects(ctx, c.scope, c.view.id, first, last, take)
	} else {
		uids := make([]uint32, 0, len(list))
		for _, m := range list {
			uids = append(uids, m.uid)
		}
		err = index.FolderObjectsByUID(ctx, c.scope, c.view.id, uids, take)
	}
	for _, m := range list {
		var found bool
		m.row, found = rows[m.uid]
		m.gone = !found
	}
	return err
}

// readObjects reads several objects at once: where they are far away, waiting is what takes time.
func (c *conn) readObjects(ctx context.Context, n needs, list []*fetched) {
	inParallel(list, func(m *fetched) {
		if !m.gone {
			m.err = c.server.readObject(ctx, n, m)
		}
	})
}

func inParallel[T any](list []T, do func(T)) {
	work := make(chan T, len(list))
	for _, m := range list {
		work <- m
	}
	close(work)
	var group sync.WaitGroup
	for range min(readersAtOnce, len(list)) {
		group.Go(func() {
			for m := range work {
				do(m)
			}
		})
	}
	group.Wait()
}

func (s *Server) readObject(ctx context.Context, n needs, m *fetched) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.metrics.panics.Inc()
			err = fmt.Errorf("message %s: panic: %v", m.row.ID, v)
		}
	}()
	whole := true
	if n.header {
		if m.header, whole, err = s.header(ctx, m.row); err != nil {
			return err
		}
	}
	if n.envelope {
		if m.envelope, err = s.envelope(ctx, m.row, m.header); err != nil {
			return err
		}
	}
	if n.structure || !whole {
		if m.structure, err = s.structure(ctx, m.row); err != nil {
			return err
		}
	}
	if n.body && m.row.SizeBytes <= smallBytes {
		m.raw, err = s.read(ctx, m.row, byteRange{0, m.row.SizeBytes})
	}
	return err
}

// writeMessage writes the response for one message. As long as nothing of it is sent, an error leaves it out; later
// ones break the connection.
func (c *conn) writeMessage(ctx context.Context, r *fetchRequest, m *fetched) error {
	b := append([]byte("* "), fmt.Sprintf("%d FETCH (", m.index+1)...)
	sent := false
	for i, it := range r.items {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, it.label...), ' ')
		if it.kind != itemSection {
			b = c.appendItem(b, it.kind, m)
			continue
		}
		text, at, inMemory := m.section(it.section)
		if it.section.fields != nil && !inMemory {
			var err error
			if text, err = c.server.pick(ctx, m.row, at, it.section); err != nil && !sent {
				return err
			} else if err != nil {
				c.broken = err
				return err
			}
			inMemory = true
		}
		switch {
		case inMemory:
			b = appendNString(b, text)
		default:
			body, err := c.server.body(ctx, m, at)
			if err != nil && !sent {
				return err
			}
			if err == nil {
				c.out.text(string(b))
				b, sent = b[:0], true
				err = errors.Join(c.out.literal(body, at.end-at.first), body.Close())
			}
			if err != nil {
				c.broken = fmt.Errorf("message %s: %w", m.row.ID, err)
				return c.broken
			}
		}
	}
	c.out.line(string(b) + ")")
	return nil
}

// body gives a piece of a message, from memory if it is there.
func (s *Server) body(ctx context.Context, m *fetched, r byteRange) (io.ReadCloser, error) {
	if m.raw != nil {
		return io.NopCloser(bytes.NewReader(m.raw[r.first:r.end])), nil
	}
	return s.openRange(ctx, m.row, r)
}

// openRange opens a piece of an object that is as it was stored.
func (s *Server) openRange(ctx context.Context, o store.ObjectRow, r byteRange) (io.ReadCloser, error) {
	want := blob.Want{Key: o.Key, SizeBytes: o.SizeBytes, Digest: o.Digest, Pieces: o.Pieces}
	rc, err := s.objects.Open(ctx, want, r.first, r.end-r.first)
	if err != nil {
		s.deps.Suspect(o.ID, err)
		return nil, fmt.Errorf("open %s: %w", o.Key, err)
	}
	return &suspecting{rc, func(err error) { s.deps.Suspect(o.ID, err) }}, nil
}

// suspecting tells what it could not be read for: that a long object is damaged shows when the piece comes that is.
type suspecting struct {
	io.ReadCloser
	tell func(err error)
}

// Read implements io.Reader.
func (r *suspecting) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		r.tell(err)
	}
	return n, err
}

// section gives a section as text when it is there already, else where in the object it is.
func (m *fetched) section(s *section) (text nstring, at byteRange, inMemory bool) {
	switch {
	case s.text == "" && len(s.path) == 0:
		at = byteRange{0, m.row.SizeBytes}
	case len(s.path) == 0 && m.structure == nil:
		switch s.text {
		case "TEXT":
			at = byteRange{int64(len(m.header)), m.row.SizeBytes}
		case "HEADER":
			return str(s.cutText(m.header)), at, true
		}
	default:
		var found bool
		if at, found = s.locate(m.structure); !found {
			return nstring{}, at, true
		}
	}
	if s.fields != nil && len(s.path) == 0 {
		return str(s.cutText(s.pick(m.header))), at, true
	}
	if s.fields != nil {
		return nstring{}, at, false
	}
	return nstring{}, s.cut(at), false
}

// pick reads the header of an attached message, and gives its fields that are asked for.
func (s *Server) pick(ctx context.Context, o store.ObjectRow, at byteRange, want *section) (nstring, error) {
	at.end = min(at.end, at.first+maxHeaderBytes)
	header, err := s.read(ctx, o, at)
	return str(want.cutText(want.pick(string(header)))), err
}

func (c *conn) appendItem(b []byte, kind itemKind, m *fetched) []byte {
	switch kind {
	case itemUID:
		return appendNumber(b, int64(m.uid))
	case itemFlags:
		return append(b, flagList(c.view.flags[m.index])...)
	case itemModSeq:
		return append(appendNumber(append(b, '('), c.view.modSeq(m.uid)), ')')
	case itemDate:
		return m.row.Received.UTC().AppendFormat(b, `"_2-Jan-2006 15:04:05 -0700"`)
	case itemSize:
		return appendNumber(b, m.row.SizeBytes)
	case itemEnvelope:
		return append(b, m.envelope...)
	case itemBody:
		return m.structure.appendBody(b, false)
	default:
		return m.structure.appendBody(b, true)
	}
}
