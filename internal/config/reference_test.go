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

// The files that the example names are not on this machine; nothing else may be wrong with it.
func TestTheExampleOfTheReferenceIsRight(t *testing.T) {
	_, _, err := config.Load(write(t, config.Example))
	var findings config.Findings
	require.ErrorAs(t, err, &findings)
	var keys []string
	for _, f := range findings {
		keys = append(keys, f.Key)
	}
	require.Subset(t, []string{"database.url", "milter.listeners[0]", "http.listeners[0]"}, keys, err)
}
