package config_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestPrintedDefaultsLoadToTheDefaults(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, config.Defaults(&b))
	t.Log(b.String())
	c, src, err := config.Load(write(t, b.String()))
	require.NoError(t, err)
	require.NotEmpty(t, src.Path)
	require.Equal(t, config.Default(), c)
}
