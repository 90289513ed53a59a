package blob_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// errBroke is what a backend says of a connection that broke: it wraps what a short object ends with, and is no damage.
var errBroke = fmt.Errorf("connection broke: %w", io.ErrUnexpectedEOF)

func TestEndBeforeItsTimeIsDamageAndABrokenConnectionIsNot(t *testing.T) {
	for name, tt := range map[string]struct {
		r    io.Reader
		want error
	}{
		"whole":           {strings.NewReader("12345"), nil},
		"short":           {strings.NewReader("1234"), blob.ErrDamaged},
		"broke":           {io.MultiReader(strings.NewReader("1234"), iotest.ErrReader(errBroke)), errBroke},
		"cut by a reader": {io.MultiReader(strings.NewReader("1"), iotest.ErrReader(io.ErrUnexpectedEOF)), blob.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := io.ReadAll(blob.Exact(tt.r, 5))
			require.Equal(t, tt.want, err)
		})
	}
}

func TestCopyOfWhatBreaksBehindItsLastByteIsNotWhole(t *testing.T) {
	var out bytes.Buffer
	r := &broken{Reader: strings.NewReader("12345")}
	require.ErrorIs(t, blob.CopyExactly(t.Context(), &out, r, 5), errBroke)
}

// broken says after its bytes that the connection broke.
type broken struct{ *strings.Reader }

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errBroke
	}
	return n, err
}
