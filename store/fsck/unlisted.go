package fsck

import (
	"errors"
	"fmt"

	"github.com/mairust/mairust/store/blob"
)

// isUnlisted says that a walk has visited all objects but those that could not be read.
func isUnlisted(err error) bool {
	_, is := errors.AsType[*blob.UnlistedError](err)
	return is
}

// foundUnlisted tells what the walk could not read; another error is given back.
func (c *check) foundUnlisted(err error) error {
	unlisted, is := errors.AsType[*blob.UnlistedError](err)
	if !is {
		return err
	}
	c.unlisted = unlisted
	for _, part := range unlisted.Parts {
		c.found(Problem{Kind: KindUnlisted, Key: part.Key, What: "it cannot be read, and nobody knows what is there: " + part.Err.Error()})
	}
	if more := unlisted.Count - int64(len(unlisted.Parts)); more > 0 {
		c.found(Problem{Kind: KindUnlisted, What: fmt.Sprintf("%d more directories or files cannot be read", more)})
	}
	return nil
}
