#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for a time or a number of inputs: fuzz.sh 60s, fuzz.sh 3000x
# What a target finds is kept under its testdata/fuzz, and is a test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:?usage: fuzz.sh DURATION or COUNTx}
failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# run FLAGS… fails when a target found something. An input that is still being tried when the time is over makes
# `go test` fail with "context deadline exceeded"; that is the end of the time, not a finding.
run() {
	go test "$@" 2>&1 | tee "$out" && return
	! grep -q 'Failing input written' "$out" && grep -q '^ *context deadline exceeded$' "$out"
}

# The names come from the source: asking `go test -list` would compile everything once more, without instruments.
mapfile -t files < <(grep -rlE '^func Fuzz[A-Z0-9_]' --include='*_test.go' . | sort)
for file in "${files[@]}"; do
	dir=$(dirname "$file")
	for target in $(sed -nE 's/^func (Fuzz[A-Z0-9_][A-Za-z0-9_]*)\(.*/\1/p' "$file"); do
		echo "--- $target ($dir) for $fuzztime"
		run -run '^$' -fuzz "^${target}\$" -fuzztime "$fuzztime" -fuzzminimizetime 2s "$dir" || failed=1
	done
done
exit "$failed"
