package api

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// maxText bounds the text of a message in JSON. Encoded it may be three times as long (quoted-printable).
const (
	maxText    = 64 << 10
	maxEncoded = 4 * maxText
)

// text reads the beginning of the readable text from the object; empty when the message has none.
func (s *Server) text(ctx context.Context, m *store.Message) (text string, truncated bool, err error) {
	p, ok := textPart(m.Parts)
	if !ok || p.Size == 0 {
		return "", false, nil
	}
	n := min(p.Size, maxEncoded)
	r, err := s.openObject(ctx, m, p.Offset, n)
	if err != nil {
		return "", false, err
	}
	decoded, err := io.ReadAll(io.LimitReader(p.Decode(blob.Exact(r, n)), maxText+1))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", false, fmt.Errorf("read text: %w", err)
	}
	text, _ = mail.DecodeText(p.Charset, decoded)
	truncated = n < p.Size || len(decoded) > maxText || len(text) > maxText
	if text = mail.Clean(text, maxText); truncated {
		text = strings.TrimRight(text, "\uFFFD") // half a character
	}
	return text, truncated, nil
}

// textPart is the first part that is text and no attachment, nor in one.
func textPart(parts []mail.Part) (mail.Part, bool) {
	for _, p := range mail.OwnParts(parts) {
		if p.Type == "text/plain" && p.Disposition != "attachment" && p.Name == "" {
			return p, true
		}
	}
	return mail.Part{}, false
}
