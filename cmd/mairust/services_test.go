package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

// A transaction of the database is held open for an object that is stored soon: never for one that travels.
func TestOnlyObjectsOnADiskAreStoredSoon(t *testing.T) {
	c := config.Config{Storage: config.Storage{Backend: config.BackendFS}}
	require.EqualValues(t, 64<<10, soonBytes(&c))
	c.Storage.Previous = &config.PreviousStorage{}
	require.Zero(t, soonBytes(&c), "it is looked for in the store before")
	c.Storage = config.Storage{Backend: config.BackendS3}
	require.Zero(t, soonBytes(&c))
}
