//go:build !amd64

package main

// asTracer and traceMain are for amd64: what makes a system call fail depends on its registers.
const asTracer = "MAIRUST_TEST_TRACER"

func traceMain(string) int { return 1 }
