package command_test

import (
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/cmd/internal/command"
)

func tree(got *error) *cobra.Command {
	root := &cobra.Command{Use: "tool", SilenceErrors: true, SilenceUsage: true}
	wrong := errors.New("the file is empty")
	root.AddCommand(
		&cobra.Command{Use: "one FILE", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, _ []string) error {
			*got = wrong
			return command.Misuse(cmd, wrong)
		}},
		&cobra.Command{
			Use: "two", Args: cobra.NoArgs, Annotations: map[string]string{command.UsageExit: "4"},
			RunE: func(*cobra.Command, []string) error { return nil },
		},
	)
	command.Strict(root)
	return root
}

func TestEveryWrongCallSaysWhereHelpIs(t *testing.T) {
	for _, c := range []struct {
		args []string
		hint string
		exit int
	}{
		{[]string{"one"}, "see: tool one --help", 2},
		{[]string{"one", "a", "b"}, "see: tool one --help", 2},
		{[]string{"one", "--no-such-flag", "a"}, "see: tool one --help", 2},
		{[]string{"one", "a"}, "see: tool one --help", 2},
		{[]string{"two", "a"}, "see: tool two --help", 4},
		{[]string{"two", "--no-such-flag"}, "see: tool two --help", 4},
	} {
		var cause error
		root := tree(&cause)
		root.SetArgs(c.args)
		err := root.Execute()
		var usage *command.UsageError
		require.ErrorAs(t, err, &usage, c.args)
		require.Equal(t, c.hint, usage.Hint)
		require.Equal(t, c.exit, usage.Exit)
		if cause != nil {
			require.ErrorIs(t, err, cause)
			require.EqualError(t, err, cause.Error())
		}
	}
	root := tree(new(error))
	root.SetArgs([]string{"two"})
	require.NoError(t, root.Execute())
}

func TestAGroupShowsAnExampleOfEachCommandBelowIt(t *testing.T) {
	root := &cobra.Command{Use: "tool", Example: "  tool --version"}
	group := &cobra.Command{Use: "queue"}
	group.AddCommand(
		&cobra.Command{Use: "list", Example: "  tool queue list\n  tool queue list --all"},
		&cobra.Command{Use: "flush", Example: "  tool queue flush"},
		&cobra.Command{Use: "help"},
	)
	root.AddCommand(group)
	command.ShowExamples(root)
	require.Equal(t, "  tool --version", root.Example)
	require.Equal(t, "  tool queue flush\n  tool queue list", group.Example)
}
