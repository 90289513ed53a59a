package api

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/emersion/go-message/charset"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
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
	decoded, err := io.ReadAll(io.LimitReader(p.Decode(&exactReader{r: r, left: n}), maxText+1))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", false, fmt.Errorf("read text: %w", err)
	}
	text = decodeText(p.Charset, decoded)
	return mail.Clean(text, maxText), n < p.Size || len(decoded) > maxText || len(text) > maxText, nil
}

// decodeText gives text in the labelled charset as UTF-8. Without a usable label it is taken for ISO-2022-JP
// if it switches to Japanese as that does (RFC 1468), else for UTF-8. What cannot be read becomes U+FFFD.
func decodeText(label string, b []byte) string {
	if label == "" && bytes.Contains(b, []byte("\x1b$")) {
		label = "iso-2022-jp"
	}
	r, err := charset.Reader(label, bytes.NewReader(b))
	if err != nil {
		return string(b)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return string(b)
	}
	return string(out)
}

// textPart is the first part that is text and no attachment.
func textPart(parts []mail.Part) (mail.Part, bool) {
	for _, p := range parts {
		if p.Type == "text/plain" && p.Disposition != "attachment" && p.Name == "" {
			return p, true
		}
	}
	return mail.Part{}, false
}
