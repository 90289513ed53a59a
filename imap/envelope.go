package imap

import "strings"

// envelope is what ENVELOPE tells (RFC 9051, 7.5.2). Encoded words stay as they are: decoding is for clients.
type envelope struct {
	date, subject, inReplyTo, messageID nstring
	from, sender, replyTo, to, cc, bcc  []address
}

// readEnvelope reads a header. Of fields that are there twice the last counts, but addresses are added up: an
// address that only some programs show helps forgers.
func readEnvelope(fields []field) *envelope {
	e := &envelope{}
	addresses := map[string]*[]address{
		"from": &e.from, "sender": &e.sender, "reply-to": &e.replyTo, "to": &e.to, "cc": &e.cc, "bcc": &e.bcc,
	}
	texts := map[string]*nstring{"date": &e.date, "subject": &e.subject, "in-reply-to": &e.inReplyTo, "message-id": &e.messageID}
	for _, f := range fields {
		name := strings.ToLower(f.name)
		if list := addresses[name]; list != nil {
			*list = append(*list, parseAddresses(f.value)...)
		} else if text := texts[name]; text != nil {
			*text = str(unfolded(f.value))
		}
	}
	return e
}

func (e *envelope) append(b []byte) []byte {
	b = append(b, '(')
	b = appendNString(b, e.date)
	b = appendNString(append(b, ' '), e.subject)
	sender, replyTo := e.sender, e.replyTo
	if sender == nil {
		sender = e.from
	}
	if replyTo == nil {
		replyTo = e.from
	}
	for _, list := range [][]address{e.from, sender, replyTo, e.to, e.cc, e.bcc} {
		b = appendAddresses(append(b, ' '), list)
	}
	b = appendNString(append(b, ' '), e.inReplyTo)
	b = appendNString(append(b, ' '), e.messageID)
	return append(b, ')')
}

func appendAddresses(b []byte, list []address) []byte {
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for _, a := range list {
		b = appendNString(append(b, '('), a.name)
		b = appendNString(append(b, ' '), a.route)
		b = appendNString(append(b, ' '), a.mailbox)
		b = appendNString(append(b, ' '), a.host)
		b = append(b, ')')
	}
	return append(b, ')')
}

func appendNString(b []byte, s nstring) []byte {
	if !s.ok {
		return append(b, "NIL"...)
	}
	return appendString(b, s.s)
}
