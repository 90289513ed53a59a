package fsck

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// messagesPage is how many messages are read from the index together.
const messagesPage = 512

// checkMessages goes from the index to the objects, and reads these if asked to.
func (c *check) checkMessages(ctx context.Context) error {
	began, err := c.beginMessages(ctx)
	if err != nil {
		return err
	}
	after := store.MessageID("")
	for {
		page, err := c.store.ObjectStatesAfter(ctx, after, messagesPage)
		if err != nil {
			return fmt.Errorf("list messages: %w", err)
		}
		if err := inParallel(ctx, page, c.checkMessage); err != nil {
			return err
		}
		if len(page) < messagesPage {
			break
		}
		if after = page[len(page)-1].ID; after <= c.readUpTo {
			continue // what was noted is further on
		}
		if err := c.noteVerified(ctx, after, began); err != nil {
			return err
		}
	}
	return c.noteVerified(ctx, "", began)
}

// beginMessages says when the reading was begun, and notes up to where an earlier run has read. What that has read is looked for all the same: it may
// have gone since, and what was found damaged then is so still. A database that is accepted only now may have been set back to a note of its own.
func (c *check) beginMessages(ctx context.Context) (began time.Time, err error) {
	if !c.VerifyContent {
		c.begin("messages", c.totals.Messages, 0)
		return time.Time{}, nil
	}
	c.begin("content", c.totals.Messages, c.totals.Bytes)
	st, err := c.store.SweepState(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if c.Restart || c.youngToo || st.VerifyAfter == "" {
		return c.now(), nil
	}
	c.readUpTo, c.report.VerifyBegan = st.VerifyAfter, st.VerifyBegan
	return st.VerifyBegan, nil
}

// noteVerified notes how far the reading is. It does not go past an object that could not be read, which bears no mark: who goes on
// later tries it again. One whose key is gone does not hold it.
func (c *check) noteVerified(ctx context.Context, upTo store.MessageID, began time.Time) error {
	if !c.VerifyContent || c.DryRun || c.noMarks || upTo != "" && c.unreadMessage.Load() {
		return nil
	}
	if err := c.store.NoteVerified(ctx, upTo, began); err != nil {
		return fmt.Errorf("note progress: %w", err)
	}
	return c.step("progress noted")
}

func (c *check) checkMessage(ctx context.Context, row store.ObjectState) error {
	kind, what, err := c.examine(ctx, row)
	if err != nil {
		return err
	}
	if row.ID > c.readUpTo {
		c.advance(1, row.SizeBytes)
	} else {
		c.skip(1, row.SizeBytes)
	}
	c.tallies.Lock()
	c.report.Messages++
	c.tallies.Unlock()
	if kind == "" {
		return c.clear(ctx, row)
	}
	// Asked again: the message may have been removed meanwhile.
	rows, err := c.store.ObjectStates(ctx, []store.MessageID{row.ID})
	if err != nil {
		return err
	}
	if now, found := rows[row.ID]; !found || now.Key != row.Key {
		return nil
	}
	if kind != KindUnreadable && !c.DryRun && !c.noMarks {
		if _, err := c.mark(ctx, row, what); err != nil {
			return err
		}
	}
	c.found(Problem{Kind: kind, Key: row.Key, Message: string(row.ID), Mailbox: string(row.Mailbox), What: what})
	return nil
}

// clear takes the mark from a message whose object is as it should be; it was read whole to know that.
func (c *check) clear(ctx context.Context, row store.ObjectState) error {
	if row.Damaged.IsZero() || c.DryRun {
		return nil
	}
	if err := c.store.ClearDamaged(ctx, row.ID); err != nil {
		return err
	}
	c.log.Info("object is whole again", "message_id", string(row.ID), "key", row.Key)
	return nil
}

// examine gives the kind of damage, and what it is in words; empty when there is none. An error is one of all the object
// store, not of this object.
func (c *check) examine(ctx context.Context, row store.ObjectState) (kind, what string, err error) {
	read := c.VerifyContent && row.ID > c.readUpTo || !row.Damaged.IsZero()
	var info blob.Info
	if read {
		var same bool
		info, same, err = c.read(ctx, row)
		if err == nil && info.SizeBytes == row.SizeBytes && !same {
			return KindContent, "its bytes are not those that were stored", nil
		}
	} else {
		info, err = c.stat(ctx, row)
	}
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return KindMissing, "its object is not there", nil
	case errors.Is(err, blob.ErrDamaged):
		return KindContent, "its bytes are not those that were stored", nil
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case err != nil:
		if !errors.Is(err, blob.ErrNoKey) {
			c.unreadMessage.Store(true)
		}
		return KindUnreadable, err.Error(), nil
	case info.SizeBytes != row.SizeBytes:
		return KindSize, fmt.Sprintf("its object has %d bytes instead of %d", info.SizeBytes, row.SizeBytes), nil
	}
	return "", "", nil
}

// stat describes the object of a row.
func (c *check) stat(ctx context.Context, row store.ObjectState) (blob.Info, error) {
	if s, ok := c.objects.(blob.Stored); ok {
		return s.StatExpecting(ctx, row.Key, row.SizeBytes)
	}
	return c.objects.Stat(ctx, row.Key)
}

// read reads an object as fast as it may, and says whether its digest is the one in the index.
func (c *check) read(ctx context.Context, row store.ObjectState) (blob.Info, bool, error) {
	r, info, err := c.objects.Get(ctx, row.Key, 0, -1)
	if err != nil {
		return info, false, err
	}
	defer func() { _ = r.Close() }() // it was only read
	sum, buf := sha256.New(), make([]byte, 128<<10)
	for {
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		if err := c.limit.wait(ctx, int64(n)); err != nil {
			return info, false, err
		}
		if err == io.EOF { // one that wraps it is the connection's
			break
		}
		if err != nil {
			return info, false, fmt.Errorf("read %s: %w", row.Key, err)
		}
	}
	c.tallies.Lock()
	c.report.Verified++
	c.tallies.Unlock()
	return info, strings.EqualFold(hex.EncodeToString(sum.Sum(nil)), row.Digest), nil
}
