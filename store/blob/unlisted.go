package blob

import (
	"errors"
	"fmt"
	"strings"
)

// UnlistedError is how a List ends that could not read some directories or files, once it has yielded all others. Nobody knows
// what is in them: an object that such a List did not yield may be there all the same.
type UnlistedError struct {
	// Parts are the first thousand of them, Count is how many there are.
	Parts []UnlistedPart
	Count int64
}

// UnlistedPart is what could not be read.
type UnlistedPart struct {
	// Key is that of the object, or what the keys of the objects in the directory begin with, without the slash.
	Key string
	Err error
}

const (
	// maxUnlisted bounds the memory of a List that fails for many.
	maxUnlisted = 1000
	// saidUnlisted is how many parts are named in words.
	saidUnlisted = 3
)

// Error names the first few.
func (u *UnlistedError) Error() string {
	var b strings.Builder
	b.WriteString("not all could be listed")
	said := min(saidUnlisted, len(u.Parts))
	for i, part := range u.Parts[:said] {
		fmt.Fprintf(&b, "%c %s: %v", ":;"[min(i, 1)], part.Key, part.Err)
	}
	if more := u.Count - int64(said); more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// Join takes over what an UnlistedError has; false when err is none.
func (u *UnlistedError) Join(err error) bool {
	other, is := errors.AsType[*UnlistedError](err)
	if !is {
		return false
	}
	u.Parts = append(u.Parts, other.Parts[:min(len(other.Parts), maxUnlisted-len(u.Parts))]...)
	u.Count += other.Count
	return true
}

func (u *UnlistedError) add(key string, err error) {
	u.Join(&UnlistedError{Parts: []UnlistedPart{{key, err}}, Count: 1})
}
