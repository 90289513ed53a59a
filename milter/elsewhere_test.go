package milter_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// index says which recipients have a mailbox here, and remembers whom it was asked about.
type index struct {
	here  map[string]bool
	err   error
	asked []string
}

func (i *index) delivers(ctx context.Context, rcpt mail.Address) (bool, error) {
	if _, ok := ctx.Deadline(); !ok {
		return false, errors.New("no deadline")
	}
	i.asked = append(i.asked, rcpt.String())
	return i.here[rcpt.String()], i.err
}

// judged gives the codes of the answers to a message for bob and ann, with a verdict and Postfix's transport.
func (i *index) judged(t *testing.T, elsewhere, mailer string, action mail.Action) (answers, log string) {
	t.Helper()
	var b syncBuffer
	s, err := milter.New(milter.Options{Quarantine: milter.Quarantine{Elsewhere: elsewhere}}, milter.Deps{
		MAC: testMAC, Log: slog.New(slog.NewTextHandler(&b, nil)), Delivers: i.delivers, Sources: []milter.Source{says(mail.Verdict{Action: action})},
	})
	require.NoError(t, err)
	ln := listenUnix(t, filepath.Join(labtest.ShortDir(t), "m.sock"))
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln, "") }()
	rcpt := packet('R', "<bob@example.test>\x00")
	raw := bytes.Replace(conversation("body\r\n"), rcpt, packets(rcpt, packet('D', "R{rcpt_mailer}\x00"+mailer+"\x00"), packet('R', "<ann@example.test>\x00")), 1)
	answers = codes(t, converseAt(t, ln.Addr(), raw))
	require.NoError(t, s.Shutdown(waiting(t)))
	require.NoError(t, <-served)
	return answers, b.String()
}

func TestQuarantineIsForRecipientsWhoseMailEndsHere(t *testing.T) {
	bob, ann := "bob@example.test", "ann@example.test"
	both := map[string]bool{bob: true, ann: true}
	for name, row := range map[string]struct {
		index     index
		elsewhere string
		mailer    string
		action    mail.Action
		answers   string
		asked     []string
	}{
		"both are here":            {index{here: both}, "", "lmtp", mail.Quarantine, "Oic", []string{bob, ann}},
		"one goes on":              {index{here: map[string]bool{bob: true}}, "", "lmtp", mail.Quarantine, "Oiqc", []string{bob, ann}},
		"the first goes on":        {index{here: map[string]bool{ann: true}}, "hold", "lmtp", mail.Quarantine, "Oiqc", []string{bob}},
		"one goes on, by local(8)": {index{here: map[string]bool{bob: true}}, "", "local", mail.Quarantine, "Oiqc", []string{bob, ann}},
		"nobody knows":             {index{here: both, err: errors.New("database is away")}, "", "lmtp", mail.Quarantine, "Oiqc", []string{bob}},
		"one goes on, tagged":      {index{here: map[string]bool{bob: true}}, "tag", "lmtp", mail.Quarantine, "Oic", []string{bob, ann}},
		"one goes on, refused":     {index{here: map[string]bool{bob: true}}, "reject", "lmtp", mail.Quarantine, "Oy", []string{bob, ann}},
		"of another transport":     {index{here: both}, "", "smtp", mail.Quarantine, "Oiqc", nil},
		"allowed":                  {index{}, "", "lmtp", mail.Allow, "Oic", nil},
		"tagged":                   {index{}, "", "lmtp", mail.Tag, "Oic", nil},
		"rejected":                 {index{}, "", "lmtp", mail.Reject, "Oy", nil},
	} {
		answers, log := row.index.judged(t, row.elsewhere, row.mailer, row.action)
		require.Equal(t, row.answers, answers, name)
		require.Equal(t, row.asked, row.index.asked, name)
		if row.index.err != nil {
			require.Contains(t, log, "database is away", name)
		}
	}
}
