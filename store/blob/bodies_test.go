package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// held is an object whose reading waits for a gate, and then fails.
type held struct {
	*bytes.Reader
	begin func()
}

var errGate = errors.New("the gate is open")

func (h held) Read([]byte) (int, error) {
	h.begin()
	return 0, errGate
}

// However many sessions store at once, what is in memory on the way through the journal is bounded.
func TestMemoryOfObjectsOnTheirWayIsBounded(t *testing.T) {
	f, err := blob.NewFS(newDisk(t).dir, blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.True(t, blob.HasJournal(f))
	const size, most = 256 << 10, blob.MaxBodies / (256 << 10)
	var begun atomic.Int64
	gate := make(chan struct{})
	begin := func() {
		begun.Add(1)
		<-gate
	}
	var group sync.WaitGroup
	put := func(ctx context.Context, i int) error {
		return f.Put(ctx, fmt.Sprint("t/", i), held{bytes.NewReader(make([]byte, size)), begin}, size)
	}
	for i := range most {
		group.Go(func() {
			if err := put(context.Background(), i); !errors.Is(err, errGate) {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return begun.Load() == most }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for i := range 40 {
		group.Go(func() {
			if err := put(ctx, most+i); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("there is no memory for it, and it was not kept waiting: %v", err)
			}
		})
	}
	<-ctx.Done()
	if n := begun.Load(); n != most {
		t.Errorf("%d objects are in memory", n)
	}
	close(gate)
	group.Wait()
}
