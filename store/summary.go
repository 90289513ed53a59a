package store

import (
	"encoding/json"
	"fmt"

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
}

func encodeSummary(s *mail.Summary) (string, error) {
	raw, err := json.Marshal(storedSummary{
		From: s.From, ReplyTo: s.ReplyTo, To: s.To, Cc: s.Cc,
		MessageID: s.MessageID, InReplyTo: s.InReplyTo, Parts: s.Parts, Defects: s.Defects,
	})
	if err != nil {
		return "", fmt.Errorf("encode summary: %w", err)
	}
	return mail.Clean(string(raw), 0), nil
}

func decodeSummary(text string) (storedSummary, error) {
	var s storedSummary
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("decode summary: %w", err)
	}
	return s, nil
}
