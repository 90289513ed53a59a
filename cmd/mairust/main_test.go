package main

import (
	"os"
	"testing"
)

// asMairust makes the test binary behave as the real one, so that tests run a process of the code they were
// built with, and with the race detector where they have it.
const asMairust = "MAIRUST_TEST_AS_MAIRUST"

func TestMain(m *testing.M) {
	if os.Getenv(asMairust) == "1" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}
