package blob_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
)

func TestMemory(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Bucket { return blob.NewMemory() })
}

// deadlines notes those of deletions.
type deadlines struct {
	blob.Bucket
	seen []time.Time
}

func (d *deadlines) Delete(ctx context.Context, _ string) error {
	deadline, _ := ctx.Deadline()
	d.seen = append(d.seen, deadline)
	return ctx.Err()
}

func TestTakingBackHasOneDeadlineOfItsOwn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &deadlines{Bucket: blob.NewMemory()}
	require.NoError(t, blob.DeleteAll(ctx, d, []string{"a", "b"}))
	require.Len(t, d.seen, 2)
	require.NotZero(t, d.seen[0])
	require.Equal(t, d.seen[0], d.seen[1])
}
