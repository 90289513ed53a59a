#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time, one after the other: fuzz.sh 60s
# What a target finds is kept under its testdata/fuzz, and is a test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:?usage: fuzz.sh DURATION}
failed=0

# Only packages that have targets are compiled.
mapfile -t dirs < <(grep -rlE '^func Fuzz[A-Z0-9_]' --include='*_test.go' . | xargs -r dirname | sort -u)
for dir in "${dirs[@]}"; do
	list=$(go test -list '^Fuzz' "$dir")
	for target in $(grep '^Fuzz' <<<"$list"); do
		echo "--- $target ($dir) for $fuzztime"
		go test -run '^$' -fuzz "^${target}\$" -fuzztime "$fuzztime" "$dir" || failed=1
	done
done
exit "$failed"
