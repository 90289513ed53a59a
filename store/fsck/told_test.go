package fsck_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/sqldb"
)

func TestAnErrorThatGoesOnIsToldOnceInAnHour(t *testing.T) {
	r := newRig(t, sqldb.SQLite)
	f := r.fsck()
	one, other := errors.New("one cannot be written"), errors.New("another cannot be written")
	for _, step := range []struct {
		after time.Duration
		err   error
		told  int
	}{
		{0, one, 1},
		{5 * time.Second, one, 1},
		{5 * time.Second, other, 1}, // of what is tried each few seconds another is told after a minute
		{time.Minute, other, 2},
		{59 * time.Minute, other, 2},
		{2 * time.Minute, other, 3},
		{time.Minute, nil, 3},
		{time.Minute, one, 4},
		{-3 * time.Hour, one, 5}, // the clock was set back
	} {
		r.ahead += step.after
		f.TellUndescribed(t.Context(), step.err)
		require.Equal(t, step.told, strings.Count(r.log.String(), "mailboxes not described"), step)
	}
}
