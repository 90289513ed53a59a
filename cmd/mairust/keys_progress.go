package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// keysProgress is how far an act on all keys is.
type keysProgress struct {
	// Listed is how many objects were listed, to find the keys that lie beside them.
	Listed int64 `json:"listed"`
	// Done and Total are keys in the database; Total is zero until all is listed.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// Took is how long it has gone on.
	Took time.Duration `json:"took_ns"`
}

func (p keysProgress) String() string {
	if p.Total == 0 {
		return fmt.Sprintf("%s: %d objects listed", p.Took.Round(time.Second), p.Listed)
	}
	return fmt.Sprintf("%s: %d objects listed, %d of %d keys", p.Took.Round(time.Second), p.Listed, p.Done, p.Total)
}

// keysMeter counts how far an act is. The zero value is ready.
type keysMeter struct{ listed, done, total atomic.Int64 }

// begin says that all is listed, and how many keys are in the database.
func (m *keysMeter) begin(keys int) { m.total.Store(int64(keys)) }

// tellEvery has tell say how far the act is, until the end.
func (m *keysMeter) tellEvery(beat time.Duration, tell func(keysProgress)) (end func()) {
	began, done := time.Now(), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				tell(keysProgress{Listed: m.listed.Load(), Done: m.done.Load(), Total: m.total.Load(), Took: time.Since(began)})
			}
		}
	})
	return func() {
		close(done)
		group.Wait()
	}
}
