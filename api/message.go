package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

type messagesInput struct {
	Page
	Mailbox string `query:"mailbox" maxLength:"320" doc:"Address or id. May be absent if you can see exactly one mailbox."`
	Folder  string `query:"folder" maxLength:"255" doc:"Name of a folder, such as INBOX. Absent: all folders."`
	Reason  string `query:"reason" maxLength:"500" doc:"Why you look into a mailbox that is not yours; for the audit log. Optional."`
}

type messagesOutput struct {
	Body wire.List[wire.Message]
}

// OneMessage is what every read of one message takes. It is exported for huma, as Page is.
type OneMessage struct {
	ID     string `path:"id" maxLength:"64"`
	Reason string `query:"reason" maxLength:"500" doc:"Why you read mail that is not yours; for the audit log. Optional."`
}

type messageOutput struct {
	Body wire.MessageDetail
}

func (s *Server) registerMessages(api huma.API) {
	tags := []string{"messages"}
	handle(s, api, auth.ReadMessages, huma.Operation{
		OperationID: "list-messages", Method: http.MethodGet, Path: "/api/v1/messages", Tags: tags,
		Summary: "List the messages of a mailbox, newest first",
		Description: "Subjects and previews are content: that of a mailbox which is not yours is noted in the audit log, once in 10 minutes. " +
			"The order is that of the ids, which are made before a message is stored. One whose storing took long, one of a node whose clock is behind, " +
			"and one whose object was found without a row, days later perhaps, appear below others that may have been seen already: do not stop at " +
			"an id that you know. To find what is new, keep the ids that you have seen and read the pages on until received_at is well before your " +
			"last look, by an hour or more; and read the whole list now and then, for what was found later. Of one folder (folder=INBOX) each " +
			"message has a uid above all that were there when it came, wherever it is in the list; IMAP asks for those alone.",
	}, s.messages)
	handle(s, api, auth.ReadMessages, huma.Operation{
		OperationID: "get-message", Method: http.MethodGet, Path: "/api/v1/messages/{id}", Tags: tags,
		Summary:     "Read a message: summary, text, attachments",
		Description: "While the object store is away the answer lacks the text and has body_error instead.",
	}, s.message)
	handle(s, api, auth.ReadMessages, huma.Operation{
		OperationID: "get-message-raw", Method: http.MethodGet, Path: "/api/v1/messages/{id}/raw", Tags: tags,
		Summary:     "Read a message byte for byte",
		Description: "One Return-Path line and the bytes as they were delivered. Takes Range, If-Range and If-None-Match.",
		Responses:   binaryResponses("message/rfc822", http.StatusOK, http.StatusPartialContent),
	}, s.raw)
	handle(s, api, auth.ReadMessages, huma.Operation{
		OperationID: "get-attachment", Method: http.MethodGet, Path: "/api/v1/messages/{id}/attachments/{part}", Tags: tags,
		Summary:     "Read an attachment, decoded",
		Description: "Types that a browser could run are answered as application/octet-stream. Takes Range, If-Range and If-None-Match.",
		Responses:   binaryResponses("application/octet-stream", http.StatusOK, http.StatusPartialContent),
	}, s.attachment)
}

func (s *Server) messages(ctx context.Context, in *messagesInput) (*messagesOutput, error) {
	mbox, err := s.mailbox(ctx, in.Mailbox)
	if err != nil {
		return nil, err
	}
	l := list{kind: "messages", scope: asker(ctx).Scope(), filter: []string{string(mbox.ID), in.Folder}}
	before, err := s.position(l, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.d.Store.Messages(ctx, l.scope, store.MessageFilter{
		Mailbox: mbox.ID, Folder: in.Folder, Before: store.MessageID(before), Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	if err := s.auditList(ctx, mbox, in.Reason); err != nil {
		return nil, err
	}
	id := func(m store.Message) string { return string(m.ID) }
	return &messagesOutput{Body: paged(s, l, rows, in.Limit, id, messageOf)}, nil
}

func (s *Server) message(ctx context.Context, in *OneMessage) (*messageOutput, error) {
	m, err := s.readable(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &messageOutput{Body: wire.MessageDetail{Message: messageOf(*m), Attachments: attachmentsOf(m.Parts)}}
	text, truncated, err := s.text(ctx, m)
	if err != nil {
		s.bodyFailed(ctx, m, err)
		out.Body.BodyError = &wire.BodyError{Code: string(codeBodyUnavailable), Message: codeBodyUnavailable.text(languageOf(ctx))}
		return out, nil
	}
	out.Body.Text, out.Body.TextTruncated = text, truncated
	return out, nil
}

// visible finds a message in the asker's scope.
func (s *Server) visible(ctx context.Context, id string) (*store.Message, error) {
	if !isID(id) {
		return nil, store.ErrNotFound
	}
	return s.d.Store.Message(ctx, asker(ctx).Scope(), store.MessageID(id))
}

// readable finds a message and notes the read.
func (s *Server) readable(ctx context.Context, in *OneMessage) (*store.Message, error) {
	m, err := s.visible(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return m, s.auditRead(ctx, m, in.Reason)
}

// bodyFailed logs and counts an object that could not be read, and has it looked at.
func (s *Server) bodyFailed(ctx context.Context, m *store.Message, err error) {
	s.d.Suspect(m.ID, err)
	kind := bodyErrorKind(err)
	s.metrics.bodyErrors.WithLabelValues(kind).Inc()
	s.d.Log.ErrorContext(ctx, "message body not served", "request_id", auth.RequestID(ctx),
		"message_id", m.ID, "key", m.Key, "kind", kind, "err", err)
}

func messageOf(m store.Message) wire.Message {
	return wire.Message{
		ID: string(m.ID), MailboxID: string(m.Mailbox), Mailbox: m.MailboxAddress, Folder: m.FolderName, UID: m.UID,
		ReceivedAt: m.Received.UTC(), SizeBytes: m.SizeBytes, SHA256: m.Digest,
		Subject: m.Subject, From: people(m.From), To: people(m.To), Cc: people(m.Cc), ReplyTo: people(m.ReplyTo),
		Date: optionalTime(m.Date), MessageID: m.HeaderMessageID, InReplyTo: m.InReplyTo, Preview: m.Preview,
		EnvelopeFrom: m.EnvelopeFrom, EnvelopeRcpt: m.EnvelopeRcpt, QueueID: m.QueueID,
		Verdict: m.Verdict, Score: m.Score, Tags: never0(m.Tags), Flags: never0(m.Flags), Defects: m.Defects,
		HasAttachments: m.HasAttachments,
	}
}

func attachmentsOf(parts []mail.Part) []wire.Attachment {
	found := (&mail.Summary{Parts: parts}).Attachments()
	out := make([]wire.Attachment, 0, len(found))
	for _, p := range found {
		out = append(out, wire.Attachment{
			ID: p.ID, Name: p.Name, Type: p.Type, SizeBytes: p.DecodedSize,
			Inline: p.Disposition != "attachment" && p.ContentID != "", ContentID: p.ContentID,
		})
	}
	return out
}

// isLeaf tells whether a part has bytes of its own. Not only attachments can be fetched: pictures within
// HTML can too.
func isLeaf(p mail.Part) bool { return p.ID != "" && !strings.HasPrefix(p.Type, "multipart/") }

func people(list []mail.Person) []wire.Person {
	out := make([]wire.Person, len(list))
	for i, p := range list {
		out[i] = wire.Person(p)
	}
	return out
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// never0 makes an absent list an empty one, so that JSON says [].
func never0(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
