package attachment

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// maxWanted is how many copies wait to be made. More are made when they are asked for again.
const maxWanted = 256

// wanted is a copy that is to be made.
type wanted struct {
	message *store.Message
	part    mail.Part
}

// Want asks for the copy of a part to be made by Run. It never waits: when too many are waiting, none is made.
func (o *Opener) Want(m *store.Message, p mail.Part) {
	if isPlain(p) || p.ID == "" || blob.CheckKey(store.AttachmentKey(m.Tenant, m.Mailbox, m.ID, p.ID)) != nil {
		return
	}
	select {
	case o.wanted <- wanted{m, p}:
	default:
		o.metrics.copies.WithLabelValues("dropped").Inc()
	}
}

// WantAll asks for copies of all attachments of a message that was delivered, if they are to be made then.
func (o *Opener) WantAll(m *store.Message) {
	if o.mode != Eager {
		return
	}
	for _, p := range Attachments(m) {
		o.Want(m, p)
	}
}

// Run makes copies, one after the other, until ctx ends.
func (o *Opener) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-o.wanted:
			if err := o.Copy(ctx, w.message, w.part); err != nil && ctx.Err() == nil {
				o.metrics.copies.WithLabelValues("failed").Inc()
				o.log.Warn("attachment not copied", "message_id", string(w.message.ID), "part", w.part.ID, "err", err)
			}
		}
	}
}

// Copy makes the copy of a part, unless there is one. The object comes first: an object without a row is removed by the
// sweep, and made again. store.ErrNotFound when the message is gone.
func (o *Opener) Copy(ctx context.Context, m *store.Message, p mail.Part) error {
	_, err := o.index.AttachmentCopy(ctx, m.Tenant, m.ID, p.ID)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	src := &decoder{ctx: ctx, opener: o, message: m, part: p}
	defer func() { _ = src.Close() }() // it was only read
	digest := blob.NewDigester()
	size, err := io.Copy(digest, src)
	if err != nil {
		return fmt.Errorf("decode attachment: %w", err)
	}
	sum := digest.Sum()
	want := blob.Want{
		Key: store.AttachmentKey(m.Tenant, m.Mailbox, m.ID, p.ID), SizeBytes: size, Digest: hex.EncodeToString(sum[:]), Pieces: digest.Pieces(),
	}
	if err := o.put(ctx, want, src); err != nil {
		return err
	}
	err = o.index.AddAttachmentCopy(ctx, store.AttachmentCopy{
		Message: m.ID, Part: p.ID, Tenant: m.Tenant, SizeBytes: size, Digest: want.Digest, Pieces: want.Pieces,
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = errors.Join(err, o.objects.Delete(ctx, want.Key))
	case err == nil:
		o.metrics.copies.WithLabelValues("made").Inc()
	}
	return err
}

// put stores a copy. One that is there without a row, by a process that was killed or because a reader found it to be bad, stays if it is the
// same, and makes room if it is not.
func (o *Opener) put(ctx context.Context, want blob.Want, src io.ReadSeeker) error {
	err := o.objects.Put(ctx, want.Key, src, want.SizeBytes)
	if !errors.Is(err, blob.ErrExists) {
		return err
	}
	bad := o.good.Check(ctx, want)
	if !errors.Is(bad, blob.ErrDamaged) && !errors.Is(bad, blob.ErrNotFound) {
		return bad
	}
	if err := o.objects.Delete(ctx, want.Key); err != nil {
		return err
	}
	return o.objects.Put(ctx, want.Key, src, want.SizeBytes)
}

// decoder reads a part decoded, as Put wants it: it can go back to the beginning.
type decoder struct {
	ctx     context.Context //nolint:containedctx // Read and Seek have no other way to get it
	opener  *Opener
	message *store.Message
	part    mail.Part
	open    io.ReadCloser
	at      int64
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.open == nil {
		var err error
		if d.open, err = d.opener.openDecoded(d.ctx, d.message, d.part, d.at, -1); err != nil {
			return 0, err
		}
	}
	n, err := d.open.Read(p)
	d.at += int64(n)
	return n, err
}

// Seek goes to another place.
func (d *decoder) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += d.at
	case io.SeekEnd:
		offset += d.part.DecodedSize
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset == d.at {
		return offset, nil
	}
	d.at = offset
	return offset, d.Close()
}

// Close gives the object back; Read opens it again.
func (d *decoder) Close() error {
	if d.open == nil {
		return nil
	}
	open := d.open
	d.open = nil
	return open.Close()
}
