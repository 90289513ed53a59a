package attachment

import (
	"errors"
	"io"

	"github.com/mairust/mairust/store/blob"
)

// isBad says that a copy is of no use to anybody.
func isBad(err error) bool {
	return errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged)
}

// copyReader reads a copy, and goes on with the message when the copy turns out to be bad: the pieces of a long one are
// compared when they are read. Only what was compared has been given out by then.
type copyReader struct {
	io.ReadCloser
	given int64
	// rest opens, from the message, what comes after the bytes that were given; nil once it was asked to.
	rest func(given int64, bad error) (io.ReadCloser, error)
}

func (r *copyReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.given += int64(n)
	if r.rest == nil || !isBad(err) {
		return n, err
	}
	rest, err := r.rest(r.given, err)
	r.rest = nil
	if err != nil {
		return n, err
	}
	_ = r.Close() // it was only read
	r.ReadCloser = rest
	if n > 0 {
		return n, nil
	}
	return r.ReadCloser.Read(p)
}
