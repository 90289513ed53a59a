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

// openObject opens n bytes of a message's object from offset (n < 0: to the end), all of which is as it was stored.
func (s *Server) openObject(ctx context.Context, m *store.Message, offset, n int64) (io.ReadCloser, error) {
	r, err := s.objects.Open(ctx, blob.Want{Key: m.Key, SizeBytes: m.SizeBytes, Digest: m.Digest, Pieces: m.Pieces}, offset, n)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
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

// bodyFailed logs and counts an object that could not be read, and has it looked at.
func (s *Server) bodyFailed(p *page, m *store.Message, err error) {
	s.d.Suspect(m.ID, err)
	kind := "unavailable"
	switch {
	case errors.Is(err, blob.ErrDamaged):
		kind = "corrupt"
	case errors.Is(err, blob.ErrNotFound):
		kind = "missing"
	case errors.Is(err, blob.ErrNoKey):
		kind = "no_key"
	}
	s.metrics.bodyErrors.WithLabelValues(kind).Inc()
	s.d.Log.ErrorContext(p.ctx(), "message body not shown", "request_id", auth.RequestID(p.ctx()),
		"message_id", m.ID, "key", m.Key, "kind", kind, "err", err)
}
