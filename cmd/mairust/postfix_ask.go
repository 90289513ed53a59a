package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// questions asks whoever sits at the terminal; with --yes every question has its answer.
type questions struct {
	in      *bufio.Reader
	out     io.Writer
	assumed bool // every answer is the one that goes on
	silent  bool // nothing is asked, because nothing will be written
}

func newQuestions(cmd *cobra.Command, o applyOptions) *questions {
	return &questions{in: bufio.NewReader(cmd.InOrStdin()), out: cmd.OutOrStdout(), assumed: o.yes, silent: o.dryRun}
}

// yes asks for a y or an n. An empty line is the usual answer; the end of input is no.
func (q *questions) yes(question string, usual bool) bool {
	if q.assumed || q.silent {
		return true
	}
	hint := "[y/N]"
	if usual {
		hint = "[Y/n]"
	}
	answer, ok := q.line(question + " " + hint + " ")
	if ok && answer == "" {
		return usual
	}
	return ok && strings.HasPrefix(strings.ToLower(answer), "y")
}

// choose asks for one of some words; anything else is the first of them.
func (q *questions) choose(question string, words ...string) string {
	if q.assumed || q.silent {
		return words[0]
	}
	answer, _ := q.line(question + " [" + strings.Join(words, "/") + ", usually " + words[0] + "] ")
	for _, w := range words {
		if strings.EqualFold(answer, w) {
			return w
		}
	}
	return words[0]
}

func (q *questions) line(prompt string) (string, bool) {
	fmt.Fprint(q.out, prompt)
	line, err := q.in.ReadString('\n')
	if err != nil {
		fmt.Fprintln(q.out)
	}
	return strings.TrimSpace(line), err == nil || line != ""
}
