#!/usr/bin/env bash
# Makes a golangci-lint of one version available: install-golangci-lint.sh VERSION FILE
# One that is in PATH or in Go's bin directory is linked to; else it is compiled (about 100 s on two cores).
set -euo pipefail

version=$1 file=$2

is_wanted() {
	[ -x "$1" ] && "$1" version 2>/dev/null | grep -q "version v\?${version#v} "
}

is_wanted "$file" && exit 0
mkdir -p "$(dirname "$file")"
for candidate in "$(command -v golangci-lint || true)" "$(go env GOBIN)/golangci-lint" "$(go env GOPATH)/bin/golangci-lint"; do
	if is_wanted "$candidate"; then
		ln -sf "$(readlink -f "$candidate")" "$file"
		exit 0
	fi
done
echo "install-golangci-lint: compiling $version (about 100 s) ..."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
GOBIN=$dir GOFLAGS= CGO_ENABLED=0 go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
mv "$dir/golangci-lint" "$file"
