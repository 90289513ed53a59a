#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time, one after the other: fuzz.sh 60s
# What a target finds is kept under its testdata/fuzz, and is a test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:?usage: fuzz.sh DURATION}
failed=0

# The names come from the source: asking `go test -list` would compile everything once more, without instruments.
mapfile -t files < <(grep -rlE '^func Fuzz[A-Z0-9_]' --include='*_test.go' . | sort)
for file in "${files[@]}"; do
	dir=$(dirname "$file")
	for target in $(sed -nE 's/^func (Fuzz[A-Z0-9_][A-Za-z0-9_]*)\(.*/\1/p' "$file"); do
		echo "--- $target ($dir) for $fuzztime"
		go test -run '^$' -fuzz "^${target}\$" -fuzztime "$fuzztime" -fuzzminimizetime 2s "$dir" || failed=1
	done
done
exit "$failed"
