package config_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestConfigReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, config.Reference(&b))
	golden(t, "../../docs/config.md", b.String())
}
