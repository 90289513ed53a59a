package notify

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhoEndsWaitsForAnAnswerAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		late, leave := lingering(ctx)
		defer leave()
		time.Sleep(time.Hour) // within synctest: no time is lost
		require.NoError(t, late.Err())
		cancel()
		began := time.Now()
		<-late.Done()
		require.Equal(t, answerGrace, time.Since(began))

		late, leave = lingering(t.Context())
		leave()
		require.Error(t, late.Err())
	})
}
