package mail

import "errors"

// ErrAddress is wrapped by every error of ParseAddress.
var ErrAddress = errors.New("not a mail address")

// Address is a mail address as the envelope has it. The zero value is the null sender.
// Compare Fold()ed values; == on unfolded ones is case-sensitive in the local part.
type Address struct {
	// Local is the local part without quotes or backslashes, as the sender wrote it otherwise.
	Local string
	// Domain is in lower-case A-label form (RFC 5890), without a trailing dot.
	Domain string
}
