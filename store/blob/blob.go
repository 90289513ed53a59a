// Package blob keeps immutable objects under keys. Files (FS) and memory are here, S3 and encryption in
// packages below. A key is a slash-separated relative path of [A-Za-z0-9._-] segments, none of them "." or "..".
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Errors that callers test for. Any other error is a fault of the backend, which is temporary.
var (
	// ErrNotFound says that there is no object under the key.
	ErrNotFound = errors.New("object not found")
	// ErrExists says that there is an object under the key already; it was not touched.
	ErrExists = errors.New("object exists")
	// ErrFull says that the backend has no space left.
	ErrFull = errors.New("object store is full")
	// ErrKey says that the key is malformed.
	ErrKey = errors.New("malformed object key")
	// ErrNoKey says that an object is encrypted, or is to be, and that the key for it was destroyed or is not at hand.
	ErrNoKey = errors.New("no encryption key")
	// ErrKeyDestroyed is the ErrNoKey of a key that is known to have been destroyed: nobody will read the object again.
	ErrKeyDestroyed = fmt.Errorf("%w is left", ErrNoKey)
	// ErrKeyLocked is the ErrNoKey of a key that is there, and cannot be used without the operator's identity: with that the object can be read.
	ErrKeyLocked = fmt.Errorf("%w that can be unwrapped", ErrNoKey)
)

// Info describes an object.
type Info struct {
	Key       string
	SizeBytes int64
	Modified  time.Time
	// Digest is that of the whole object, SHA-256 in hex, where the backend keeps it and Get yields no byte that it has not
	// compared with it. Empty where not, and in a List.
	Digest string
}

// Bucket is what every backend does. All methods may be called at once from many goroutines.
type Bucket interface {
	// Put stores size bytes from r under key. When it returns nil, object and name survive a power
	// cut; when it returns an error there is either no object under key or a whole one, never a part.
	// ErrExists when the key is taken, ErrFull when there is no space. r is read from its beginning;
	// one that holds less or more than size bytes is an error, and nothing is stored.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error
	// PutAll is Put under several keys, which share the bytes where the backend can. On an error
	// what was stored of it is removed again.
	PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error
	// Copy makes the object src readable under dst too, sharing bytes where it can; as durable as Put.
	// ErrNotFound when src is missing, ErrExists when dst is taken.
	Copy(ctx context.Context, src, dst string) error
	// Get yields n bytes from offset (n < 0: to the end). A range beyond the end is cut, a negative offset
	// is an error. Info is of the whole object. The caller closes. ErrNotFound when there is none.
	Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error)
	// Stat describes the object. ErrNotFound when there is none.
	Stat(ctx context.Context, key string) (Info, error)
	// Delete removes the object, and what it removed stays removed after a power cut. Deleting what is
	// not there is no error. Readers that have the object open go on.
	Delete(ctx context.Context, key string) error
	// List yields the objects whose key starts with prefix ("" for all), in no set order. Objects that come
	// or go meanwhile may be missed or listed. The first error is yielded last. ErrKey when no key can
	// start with prefix; an UnlistedError when all was yielded but what could not be read.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Check proves that objects can be written and removed right now.
	Check(ctx context.Context) error
}

// Stored is what a backend does that stores objects in another form, and size, than they have. Its List has to look into
// each of them.
type Stored interface {
	// ListStored is List with the sizes as stored, and looks into none.
	ListStored(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// StatExpecting is Stat of what should be an object of size bytes. It looks into none that is stored in so many, where objects
	// are not stored in another form any more.
	StatExpecting(ctx context.Context, key string, size int64) (Info, error)
	// CanHold says whether what is stored can be an object of size bytes.
	CanHold(stored Info, size int64) bool
	// CopyStored puts an object under another key of its tenant, as it is stored. It shares no bytes: the copy is as old as
	// the putting. ErrNotFound when src is missing, ErrExists when dst is taken.
	CopyStored(ctx context.Context, src, dst string) error
}
