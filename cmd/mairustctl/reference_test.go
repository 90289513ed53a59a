package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the generated reference in docs/")

func TestCommandReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# mairustctl\n\nGenerated from the commands' own help; `go test ./cmd/mairustctl -run Reference -update` rewrites it.\n")
	writeCommands(t, &b, rootCommand())
	const path = "../../docs/mairustctl.md"
	if *update {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
		return
	}
	has, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(has), "%s is not current: go test ./cmd/mairustctl -run Reference -update", path)
}

// writeCommands writes the help of a command and of those below it, each as a section.
func writeCommands(t *testing.T, w io.Writer, cmd *cobra.Command) {
	t.Helper()
	cmd.DisableAutoGenTag = true
	cmd.InitDefaultHelpCmd()
	cmd.InitDefaultCompletionCmd()
	var section bytes.Buffer
	require.NoError(t, doc.GenMarkdownCustom(cmd, &section, func(link string) string {
		return "#" + strings.ReplaceAll(strings.TrimSuffix(link, ".md"), "_", "-")
	}))
	fmt.Fprintf(w, "\n%s", section.Bytes())
	for _, sub := range cmd.Commands() {
		if sub.Name() != "help" && sub.Name() != "completion" {
			writeCommands(t, w, sub)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.Contains(t, cmd.Example, "mairustctl ", cmd.CommandPath())
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(rootCommand())
}

func TestEveryWordHasBothLanguages(t *testing.T) {
	for key, w := range words {
		require.NotEmpty(t, w[0], key)
		require.NotEmpty(t, w[1], key)
	}
}

func TestColumnsOfATerminal(t *testing.T) {
	require.Equal(t, 4, columns("abcd"))
	require.Equal(t, 8, columns("送信停止"))
	require.Equal(t, "a\uFFFDb", clean("a\x1bb"))
	require.Equal(t, "a\uFFFDb", clean("a\u202eb"), "the direction of writing is not turned")
	require.Equal(t, "a b", oneLine("a\nb"))
}
