package imap_test

import (
	"fmt"
	"io"
	"mime"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/mairust/mairust/store"
)

func TestGoClientReads(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	x.deliver(t, "bob", store.Inbox, plainMail, mixedMail)
	c, err := imapclient.DialInsecure(x.addr, &imapclient.Options{WordDecoder: &mime.WordDecoder{CharsetReader: japanese}})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Login("bob@acme.test", password).Wait())
	data, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.EqualValues(t, 2, data.NumMessages)
	messages, err := c.Fetch(goimap.SeqSetNum(1, 2), &goimap.FetchOptions{
		UID: true, Envelope: true, BodyStructure: &goimap.FetchItemBodyStructure{Extended: true}, BodySection: []*goimap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.Equal(t, mixedMail, string(messages[1].BodySection[0].Bytes))
	require.Equal(t, "会議", messages[1].Envelope.Subject)
	require.Equal(t, "multipart/mixed", messages[1].BodyStructure.MediaType())
	found, err := c.UIDSearch(&goimap.SearchCriteria{Body: []string{"inner"}}, &goimap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	require.NoError(t, err)
	require.EqualValues(t, []goimap.UID{2}, found.AllUIDs())
	require.Error(t, c.Store(goimap.SeqSetNum(1), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagSeen}}, nil).Close())
	require.NoError(t, c.Logout().Wait())
}

// japanese reads what mime does not by itself.
func japanese(label string, r io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(label)
	if err != nil {
		return nil, fmt.Errorf("charset %s: %w", label, err)
	}
	return e.NewDecoder().Reader(r), nil
}
