package ui

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// errCorrupt says that an object is not what was stored.
var errCorrupt = errors.New("object differs from its size")

// openObject opens n bytes of a message's object from offset (n < 0: to the end).
func (s *Server) openObject(ctx context.Context, m *store.Message, offset, n int64) (io.ReadCloser, error) {
	r, info, err := s.d.Objects.Get(ctx, m.Key, offset, n)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if info.SizeBytes != m.SizeBytes {
		return nil, errors.Join(fmt.Errorf("%w: %d bytes instead of %d", errCorrupt, info.SizeBytes, m.SizeBytes), r.Close())
	}
	return r, nil
}

// readObject reads up to limit bytes of n bytes from offset; cut tells whether some are missing.
func (s *Server) readObject(ctx context.Context, m *store.Message, offset, n, limit int64) (raw []byte, cut bool, err error) {
	r, err := s.openObject(ctx, m, offset, min(n, limit))
	if err != nil {
		return nil, false, err
	}
	raw, err = io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, false, fmt.Errorf("read object: %w", err)
	}
	return raw, n > limit, nil
}

// readPart reads up to limit bytes of a part, decoded from its transfer encoding.
func (s *Server) readPart(ctx context.Context, m *store.Message, p mail.Part, limit int64) (raw []byte, cut bool, err error) {
	if p.Size == 0 {
		return nil, false, nil
	}
	encoded := min(p.Size, 4*limit) // quoted-printable is at most three times as long
	r, err := s.openObject(ctx, m, p.Offset, encoded)
	if err != nil {
		return nil, false, err
	}
	raw, err = io.ReadAll(io.LimitReader(p.Decode(r), limit+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, false, fmt.Errorf("read part: %w", err)
	}
	if int64(len(raw)) > limit {
		return raw[:limit], true, nil
	}
	return raw, encoded < p.Size, nil
}

// bodyFailed logs and counts an object that could not be read.
func (s *Server) bodyFailed(p *page, m *store.Message, err error) {
	kind := "unavailable"
	switch {
	case errors.Is(err, errCorrupt):
		kind = "corrupt"
	case errors.Is(err, blob.ErrNotFound):
		kind = "missing"
	}
	s.metrics.bodyErrors.WithLabelValues(kind).Inc()
	s.d.Log.ErrorContext(p.ctx(), "message body not shown", "request_id", auth.RequestID(p.ctx()),
		"message_id", m.ID, "key", m.Key, "kind", kind, "err", err)
}
