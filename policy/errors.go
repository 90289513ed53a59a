package policy

import "errors"

// ErrState and ErrRecord are bytes that are no state or record, or were written by a later version.
var (
	ErrState  = errors.New("not a state of the outbound engine")
	ErrRecord = errors.New("not a record of the outbound engine")
)
