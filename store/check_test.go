package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestCheckChangesNothing(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		id, err := s.Claim(t.Context(), "check value")
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, s.Check(t.Context()))
		}
		again, err := s.Claim(t.Context(), "check value")
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
