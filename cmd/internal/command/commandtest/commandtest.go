// Package commandtest holds the generated references of our commands to what the commands say.
package commandtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/stretchr/testify/require"
)

// WriteReference writes the help of a command and of those below it in Markdown, each as a section.
func WriteReference(t testing.TB, w io.Writer, cmd *cobra.Command) {
	t.Helper()
	cmd.DisableAutoGenTag = true
	cmd.InitDefaultHelpCmd()
	if !cmd.HasParent() {
		cmd.InitDefaultCompletionCmd()
	}
	var section bytes.Buffer
	require.NoError(t, doc.GenMarkdownCustom(cmd, &section, func(link string) string {
		return "#" + strings.ReplaceAll(strings.TrimSuffix(link, ".md"), "_", "-")
	}))
	_, err := fmt.Fprintf(w, "\n%s", section.Bytes())
	require.NoError(t, err)
	for _, sub := range cmd.Commands() {
		if sub.Name() != "help" {
			require.True(t, sub.Example != "" || isGenerated(sub), "%s has no example", sub.CommandPath())
			WriteReference(t, w, sub)
		}
	}
}

// isGenerated says of a command that cobra makes it: the completion of shells, whose examples are in its text.
func isGenerated(cmd *cobra.Command) bool {
	return cmd.Name() == "completion" || cmd.HasParent() && cmd.Parent().Name() == "completion"
}

// Compare holds a generated file to what the code says, or with update writes it anew.
func Compare(t testing.TB, path string, want []byte, update bool) {
	t.Helper()
	if update {
		require.NoError(t, os.WriteFile(path, want, 0o644)) //nolint:gosec // a document of the repository
		return
	}
	has, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(has), "%s is not current: run this test again with -update", path)
}
