package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/mairust/mairust/api/wire"
)

// errDemoKey means that the API key does not open.
var errDemoKey = errors.New("the API key is not accepted")

// maxDemoAnswer bounds an answer of the API.
const maxDemoAnswer = 8 << 20

// demoAPI reads through the REST API, as any client does.
type demoAPI struct {
	base string
	key  string
}

// get reads the JSON at path into out, if that is not nil. errDemoKey for a 401.
func (a *demoAPI) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDemoAnswer))
	err = errors.Join(err, resp.Body.Close())
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", path, err)
	case resp.StatusCode == http.StatusUnauthorized:
		return errDemoKey
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, oneLine(string(raw), 300))
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// newest are the newest messages of a mailbox.
func (a *demoAPI) newest(ctx context.Context, mailbox string) ([]wire.Message, error) {
	var page wire.List[wire.Message]
	query := url.Values{"mailbox": {mailbox}, "limit": {"50"}}
	err := a.get(ctx, "/api/v1/messages?"+query.Encode(), &page)
	return page.Data, err
}

// message reads one message.
func (a *demoAPI) message(ctx context.Context, id string) (*wire.MessageDetail, error) {
	var detail wire.MessageDetail
	if err := a.get(ctx, "/api/v1/messages/"+url.PathEscape(id), &detail); err != nil {
		return nil, err
	}
	return &detail, nil
}

// messageByID finds the message with that Message-ID among the newest of a mailbox; errNotStored if there is none.
func (a *demoAPI) messageByID(ctx context.Context, mailbox, id string) (*wire.MessageDetail, error) {
	list, err := a.newest(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.MessageID == id {
			return a.message(ctx, m.ID)
		}
	}
	return nil, errNotStored
}

// newestPDF gives the ids of a message and of the PDF attached to it.
func (a *demoAPI) newestPDF(ctx context.Context, mailbox string) (message, attachment string, err error) {
	list, err := a.newest(ctx, mailbox)
	if err != nil {
		return "", "", err
	}
	for _, m := range list {
		if !m.HasAttachments {
			continue
		}
		detail, err := a.message(ctx, m.ID)
		if err != nil {
			return "", "", err
		}
		for _, part := range detail.Attachments {
			if part.Type == "application/pdf" {
				return m.ID, part.ID, nil
			}
		}
	}
	return "", "", fmt.Errorf("no message of %s has a PDF attached", mailbox)
}
