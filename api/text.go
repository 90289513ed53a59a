package api

import (
	"context"
	"fmt"
	"io"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// maxText bounds the text of a message in JSON.
const maxText = 64 << 10

// text reads the beginning of the readable text from the object; empty when the message has none.
func (s *Server) text(ctx context.Context, m *store.Message) (text string, truncated bool, err error) {
	text, truncated, err = mail.ShownText(m.Parts, maxText, func(p mail.Part, limit int64) ([]byte, bool, error) {
		return s.readPart(ctx, m, p, limit)
	})
	if err != nil {
		return "", false, fmt.Errorf("read text: %w", err)
	}
	return mail.Clean(text, maxText), truncated || len(text) > maxText, nil
}

// readPart reads up to limit bytes of a part, decoded from its transfer encoding.
func (s *Server) readPart(ctx context.Context, m *store.Message, p mail.Part, limit int64) (raw []byte, cut bool, err error) {
	if p.Size == 0 {
		return nil, false, nil
	}
	n := min(p.Size, 4*limit) // quoted-printable is at most three times as long
	r, err := s.openObject(ctx, m, p.Offset, n)
	if err != nil {
		return nil, false, err
	}
	raw, err = io.ReadAll(io.LimitReader(p.Decode(blob.Exact(r, n)), limit+1))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, false, err
	}
	if int64(len(raw)) > limit {
		return raw[:limit], true, nil
	}
	return raw, n < p.Size, nil
}
