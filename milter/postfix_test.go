package milter_test

import (
	"testing"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
	"github.com/stretchr/testify/require"
)

func TestMessageGoesThroughUnchangedButForTheScanHeader(t *testing.T) {
	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source()), lab.PostfixOptions{})
	s.accepted(t, plain)
	d := s.delivered(t, 1)
	scan := d.scan()
	require.Equal(t, mail.Allow, scan.Action)
	require.Equal(t, "mx.example.test", scan.Host)
	require.NotEmpty(t, scan.QueueID)
	require.Contains(t, d.fields()[1], "id "+scan.QueueID)
	require.Equal(t, plain, d.original())
	require.Equal(t, plain, rec.last(t).raw)
}
