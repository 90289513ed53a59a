#!/usr/bin/env bash
# Fails when `go generate` changes a file: somebody changed a source and not what is generated from it.
# It compares contents, not commits, so it works in a tree with changes, and without git.
set -euo pipefail
cd "$(dirname "$0")/.."

sums() {
	find . \( -path ./.git -o -path ./bin -o -path ./mairust-demo -o -path ./mairust-data \) -prune -o -type f -print0 |
		sort -z | xargs -0 sha256sum
}

before=$(mktemp) after=$(mktemp)
trap 'rm -f "$before" "$after"' EXIT
sums >"$before"
go generate ./...
sums >"$after"
if ! changed=$(diff "$before" "$after"); then
	echo "generated files were out of date; they are written now, please commit them:" >&2
	awk '/^>/ { print "  " $3 }' <<<"$changed" >&2
	exit 1
fi
