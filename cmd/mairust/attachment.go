package main

import (
	"encoding/hex"

	"github.com/mairust/mairust/store"
)

// delivered asks for the copies of a new message's attachments, where they are made at once.
func (s *site) delivered(c store.Copy) {
	m := c.Content
	s.attachments.WantAll(&store.Message{
		ID: c.ID, Tenant: c.Target.Tenant, Mailbox: c.Target.Mailbox, Key: c.Key, SizeBytes: m.SizeBytes,
		Digest: hex.EncodeToString(m.Digest[:]), Pieces: m.Pieces, Parts: m.Summary.Parts,
	})
}
