// Package attachment gives out parts of messages, decoded: from the message itself, by the offset that the index has, or
// from a decoded copy beside it, which may be kept as an object of its own
// (<tenant_id>/<mailbox_id>/<message_id>/attachments/<attachment_id>).
//
// A copy is never more than that: it can be made again, it goes when its message does, and one that is missing or damaged
// is passed over. Names and types that senders give are made harmless here.
package attachment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// The values of storage.options.attachments.
const (
	// Lazy makes a copy when an attachment is first asked for.
	Lazy = "lazy"
	// Eager makes copies right after delivery; those that it did not get to are made when they are asked for.
	Eager = "eager"
	// Never makes no copies; those that are there are still used.
	Never = "never"
)

// Index knows the copies; *store.Store is one.
type Index interface {
	AttachmentCopy(ctx context.Context, tenant store.TenantID, id store.MessageID, part string) (*store.AttachmentCopy, error)
	AddAttachmentCopy(ctx context.Context, c store.AttachmentCopy) error
	DropAttachmentCopy(ctx context.Context, tenant store.TenantID, id store.MessageID, part string) error
}

// Options of an Opener. Objects is required, and Index for copies.
type Options struct {
	Index   Index
	Objects blob.Bucket
	// Mode is Lazy, Eager or Never; empty means Never.
	Mode string
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Opener opens attachments. Its methods may be called from many goroutines.
type Opener struct {
	index   Index
	objects blob.Bucket
	good    *blob.Verifier
	mode    string
	log     *slog.Logger
	wanted  chan wanted
	metrics *metrics
}

// New makes an Opener.
func New(o Options) *Opener {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Opener{
		index: o.Index, objects: o.Objects, good: blob.NewVerifier(o.Objects), mode: o.Mode, log: o.Log,
		wanted: make(chan wanted, maxWanted), metrics: newMetrics(o.Registerer),
	}
}

// Attachments lists the parts of a message that a person would call attachments.
func Attachments(m *store.Message) []mail.Part { return (&mail.Summary{Parts: m.Parts}).Attachments() }

// Open yields n bytes (n < 0: to the end) from offset of a part, decoded; all of it has p.DecodedSize bytes. It asks for a
// copy to be made if there is none and there shall be one. From the message, what is before offset is decoded and passed
// over, but for the lines of base64 before it, when all are as long. The caller closes. Errors are those of blob.Verifier.Open, also while it is read.
func (o *Opener) Open(ctx context.Context, m *store.Message, p mail.Part, offset, n int64) (io.ReadCloser, error) {
	switch {
	case isPlain(p):
		return o.openObject(ctx, m, p.Offset+min(offset, p.Size), span(p.Size, offset, n))
	case o.index == nil:
		return o.openDecoded(ctx, m, p, offset, n)
	}
	r, err := o.openCopy(ctx, m, p, offset, n)
	if err == nil {
		o.metrics.opened.WithLabelValues("copy").Inc()
		return &copyReader{ReadCloser: r, rest: func(given int64, bad error) (io.ReadCloser, error) {
			o.passOver(ctx, m, p, o.dropCopy(ctx, m, p, bad))
			return o.openDecoded(ctx, m, p, offset+given, after(given, n))
		}}, nil
	}
	o.metrics.opened.WithLabelValues("message").Inc()
	o.passOver(ctx, m, p, err)
	return o.openDecoded(ctx, m, p, offset, n)
}

// passOver says why there is no use in the copy of a part, and asks for one to be made if there shall be one.
func (o *Opener) passOver(ctx context.Context, m *store.Message, p mail.Part, why error) {
	if !errors.Is(why, store.ErrNotFound) && ctx.Err() == nil {
		o.log.Warn("attachment copy not used", "message_id", string(m.ID), "part", p.ID, "err", why)
	}
	if o.mode != Never && o.mode != "" {
		o.Want(m, p)
	}
}

// isPlain says that a part is stored as it is, so that no copy is worth anything.
func isPlain(p mail.Part) bool { return p.Encoding != "base64" && p.Encoding != "quoted-printable" }

// span is how many of size bytes are n bytes from offset.
func span(size, offset, n int64) int64 {
	left := max(0, size-offset)
	if n < 0 || n > left {
		return left
	}
	return n
}

// after is what is left of n bytes (n < 0: to the end) when some were given.
func after(given, n int64) int64 {
	if n < 0 {
		return n
	}
	return n - given
}

// openCopy opens the copy of a part. store.ErrNotFound when there is none that is of use.
func (o *Opener) openCopy(ctx context.Context, m *store.Message, p mail.Part, offset, n int64) (io.ReadCloser, error) {
	c, err := o.index.AttachmentCopy(ctx, m.Tenant, m.ID, p.ID)
	if err != nil {
		return nil, err
	}
	want := blob.Want{Key: store.AttachmentKey(m.Tenant, m.Mailbox, m.ID, p.ID), SizeBytes: c.SizeBytes, Digest: c.Digest, Pieces: c.Pieces}
	r, err := o.good.Open(ctx, want, offset, n)
	if isBad(err) {
		err = o.dropCopy(ctx, m, p, err)
	}
	if err != nil {
		return nil, err
	}
	return exactly(r, span(c.SizeBytes, offset, n)), nil
}

// dropCopy takes the row of a copy away, and gives why.
func (o *Opener) dropCopy(ctx context.Context, m *store.Message, p mail.Part, why error) error {
	return errors.Join(why, o.index.DropAttachmentCopy(ctx, m.Tenant, m.ID, p.ID))
}

// openDecoded decodes a part from the message.
func (o *Opener) openDecoded(ctx context.Context, m *store.Message, p mail.Part, offset, n int64) (io.ReadCloser, error) {
	encoded, before := p.Lookup(min(offset, p.DecodedSize))
	r, err := o.openObject(ctx, m, p.Offset+encoded, p.Size-encoded)
	if err != nil {
		return nil, err
	}
	decoded := p.Decode(r)
	if _, err := io.CopyN(io.Discard, decoded, before); err != nil {
		return nil, errors.Join(fmt.Errorf("decode attachment: %w", err), r.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(decoded, span(p.DecodedSize, offset, n)), r}, nil
}

// openObject opens n bytes from offset of a message, as they are stored.
func (o *Opener) openObject(ctx context.Context, m *store.Message, offset, n int64) (io.ReadCloser, error) {
	want := blob.Want{Key: m.Key, SizeBytes: m.SizeBytes, Digest: m.Digest, Pieces: m.Pieces}
	r, err := o.good.Open(ctx, want, offset, n)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	return exactly(r, n), nil
}

// exactly reads the n bytes that r was opened for; blob.ErrDamaged when there are fewer.
func exactly(r io.ReadCloser, n int64) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{blob.Exact(r, n), r}
}
