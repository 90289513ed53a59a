// Package command is what our commands have in common: how a wrong call of one is told, and the examples of their help.
package command

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// UsageError is a wrong call: a flag, an argument or a file of it cannot be used.
type UsageError struct {
	error
	// Hint says where help is, in one line.
	Hint string
	// Exit is the exit code: 2, or what the command has in UsageExit.
	Exit int
}

// Unwrap gives what was wrong.
func (e *UsageError) Unwrap() error { return e.error }

// UsageExit is the annotation of a command that has another exit code than 2 for a wrong call.
const UsageExit = "usage-exit"

const defaultExit = 2

// Strict makes every wrong flag and argument of root and of the commands below it a UsageError. It is called once, when all
// commands are there.
func Strict(root *cobra.Command) {
	root.SetFlagErrorFunc(Misuse)
	strictArgs(root)
}

func strictArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return Misuse(cmd, err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		strictArgs(sub)
	}
}

// ShowExamples gives each command that only has others below it, and no examples, the first of each of theirs. It is called once,
// when all commands are there.
func ShowExamples(cmd *cobra.Command) {
	var lines []string
	for _, sub := range cmd.Commands() {
		ShowExamples(sub)
		if line, _, _ := strings.Cut(sub.Example, "\n"); line != "" {
			lines = append(lines, line)
		}
	}
	if cmd.Example == "" {
		cmd.Example = strings.Join(lines, "\n")
	}
}

// Misuse makes err a UsageError of cmd.
func Misuse(cmd *cobra.Command, err error) error {
	exit := defaultExit
	if own, err := strconv.Atoi(cmd.Annotations[UsageExit]); err == nil {
		exit = own
	}
	return &UsageError{error: err, Hint: fmt.Sprintf("see: %s --help", cmd.CommandPath()), Exit: exit}
}
