package main

import (
	"bytes"
	"flag"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/cmd/internal/command/commandtest"
)

var update = flag.Bool("update", false, "rewrite the generated reference in docs/")

func TestCommandReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# mairustctl\n\nGenerated from the commands' own help; `go test ./cmd/mairustctl -run Reference -update` rewrites it.\n")
	commandtest.WriteReference(t, &b, rootCommand())
	commandtest.Compare(t, "../../docs/mairustctl.md", b.Bytes(), *update)
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
