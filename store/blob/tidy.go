package blob

import (
	"context"
	"time"
)

// Tidier is what a backend does where crashes leave more behind than objects, such as uploads that were never finished.
type Tidier interface {
	// Tidy removes what acts that began before the given time have left unfinished, and gives how much that was. What is
	// under way since is left alone. It may be called at any time, and again.
	Tidy(ctx context.Context, before time.Time) (removed int, err error)
}
