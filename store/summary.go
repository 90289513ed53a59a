package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// storedSummary is what of a mail.Summary has no column of its own.
type storedSummary struct {
	From      []mail.Person `json:"from,omitempty"`
	ReplyTo   []mail.Person `json:"reply_to,omitempty"`
	To        []mail.Person `json:"to,omitempty"`
	Cc        []mail.Person `json:"cc,omitempty"`
	MessageID string        `json:"message_id,omitempty"`
	InReplyTo string        `json:"in_reply_to,omitempty"`
	Parts     []mail.Part   `json:"parts,omitempty"`
	Defects   []string      `json:"defects,omitempty"`
	// Omitted says that subject, preview and names of files were left out.
	Omitted bool `json:"omitted,omitempty"`
}

// encodeSummaries gives what is stored of the summary of each content, which many copies may share.
func (s *Store) encodeSummaries(copies []Copy) (map[*Content]string, error) {
	texts := map[*Content]string{}
	for i := range copies {
		c := copies[i].Content
		if _, known := texts[c]; known {
			continue
		}
		text, err := encodeSummary(s.allowed(c.Summary))
		if err != nil {
			return nil, err
		}
		texts[c] = text
	}
	return texts, nil
}

// encodeSummary gives JSON. What HTML gives a meaning to is not escaped: that would make six bytes of one.
func encodeSummary(s *mail.Summary, omitted bool) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(storedSummary{
		From: s.From, ReplyTo: s.ReplyTo, To: s.To, Cc: s.Cc,
		MessageID: s.MessageID, InReplyTo: s.InReplyTo, Parts: s.Parts, Defects: s.Defects,
		Omitted: omitted,
	})
	if err != nil {
		return "", fmt.Errorf("encode summary: %w", err)
	}
	return mail.Clean(strings.TrimSuffix(b.String(), "\n"), 0), nil
}

func decodeSummary(text string) (storedSummary, error) {
	var s storedSummary
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("decode summary: %w", err)
	}
	return s, nil
}

// allowed gives what of a summary may be in the index: where the operator says so, no word of what the message is about.
func (s *Store) allowed(m *mail.Summary) (allowed *mail.Summary, omitted bool) {
	if !s.omitContent {
		return m, false
	}
	bare := *m
	bare.Subject, bare.Preview = "", ""
	bare.Parts = slices.Clone(m.Parts)
	for i := range bare.Parts {
		bare.Parts[i].Name = ""
	}
	return &bare, true
}
