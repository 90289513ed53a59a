package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// asMairust makes the test binary behave as the real one, so that tests run a process of the code they were
// built with, and with the race detector where they have it.
const asMairust = "MAIRUST_TEST_AS_MAIRUST"

func TestMain(m *testing.M) {
	if os.Getenv(asMairust) == "1" {
		os.Exit(run(os.Args[1:]))
	}
	if of := os.Getenv(asTracer); of != "" {
		os.Exit(traceMain(of))
	}
	testscript.Main(m, map[string]func(){"mairust": func() { os.Exit(run(os.Args[1:])) }})
}

// The scripts are the specification of the command line: what is printed, and which exit code.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
