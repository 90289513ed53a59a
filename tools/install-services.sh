#!/usr/bin/env bash
# Installs the programs that the tests and the demo start privately (Debian, Ubuntu). It starts nothing, and does
# nothing when everything is there. Run it as root; else it says the command to run.
#
#   tools/install-services.sh          all that the tests need
#   tools/install-services.sh demo     only what the demo can use (postfix, rspamd)
#
# MinIO, the S3 server of the tests, is in no Debian package: Go builds it, once, into /usr/local/bin (some minutes).
set -euo pipefail

minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
minio_path=/usr/local/bin/minio

# program that must be there = Debian package that brings it
tests=(
	postfix=postfix
	rspamd=rspamd
	redis-server=redis-server
	opendkim=opendkim openssl=openssl curl=curl
	initdb=postgresql
	gcc=gcc
	cc-headers=libc6-dev
	chromium=chromium cjk-fonts=fonts-noto-cjk # the Web UI as people see it
	dovecot-imap=dovecot-imapd dovecot-lmtp=dovecot-lmtpd mbsync=isync offlineimap=offlineimap3 mutt=mutt python3=python3 # IMAP beside others
	strace=strace # errors of the disk, one system call after the other
)
demo=(postfix=postfix rspamd=rspamd)

export PATH="$PATH:/usr/sbin:/sbin"

has() {
	case "$1" in
	initdb) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
	dovecot-imap) [ -x /usr/lib/dovecot/imap ] || [ -x /usr/libexec/dovecot/imap ] ;;
	dovecot-lmtp) [ -x /usr/lib/dovecot/lmtp ] || [ -x /usr/libexec/dovecot/lmtp ] ;;
	cjk-fonts) compgen -G '/usr/share/fonts/*/noto/NotoSansCJK-*' >/dev/null ;;
	cc-headers) [ -e /usr/include/stdio.h ] ;; # for cgo, which the race detector needs
	*) command -v "$1" >/dev/null ;;
	esac
}

# missing prints the packages of those of its arguments whose program is not there.
missing() {
	local pair
	for pair in "$@"; do
		has "${pair%%=*}" || echo "${pair#*=}"
	done
}

install_packages() {
	local try
	export DEBIAN_FRONTEND=noninteractive
	for try in 1 2 3; do
		apt-get update -qq && break
		[ "$try" = 3 ] && echo "apt-get update does not work; trying with the lists that are there" >&2
		sleep $((try * 5))
	done
	apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
		-o Acquire::Retries=3 "$@" >"$log" 2>&1 || {
		tail -n 40 "$log" >&2
		return 1
	}
}

# With this in place, packages don't start their services (invoke-rc.d asks it). One that is there stays.
forbid_services() {
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		ours=$policy
	fi
}

# install_minio builds MinIO. It is pinned, and never a part of our own program.
install_minio() {
	if [ -x "$minio_path" ]; then
		return
	fi
	if ! command -v go >/dev/null || [ ! -w "$(dirname "$minio_path")" ]; then
		echo "install-services: missing: minio; as a user who may write $(dirname "$minio_path"), with Go in the PATH, please run: $0" >&2
		exit 1
	fi
	local dir
	dir=$(mktemp -d)
	echo "install-services: building MinIO (some minutes) ..."
	if ! GOBIN=$dir GOFLAGS=-trimpath CGO_ENABLED=0 go install "$minio" >"$dir/log" 2>&1; then
		tail -n 20 "$dir/log" >&2
		rm -rf "$dir"
		exit 1
	fi
	install -m 755 "$dir/minio" "$minio_path"
	rm -rf "$dir"
}

main() {
	local wanted=("${tests[@]}") packages
	if [ "${1:-}" = demo ]; then
		wanted=("${demo[@]}")
	else
		install_minio
	fi
	mapfile -t packages < <(missing "${wanted[@]}")
	if [ "${#packages[@]}" = 0 ]; then
		echo "install-services: everything is there"
		return
	fi
	if ! command -v apt-get >/dev/null; then
		echo "install-services: please install with your system's tools: ${packages[*]}" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "install-services: missing: ${packages[*]}; please run: sudo $0 ${1:-}" >&2
		exit 1
	fi
	ours=
	log=$(mktemp)
	trap 'rm -f ${ours:+"$ours"} "$log"' EXIT
	forbid_services
	echo "install-services: installing ${packages[*]} (about a minute) ..."
	install_packages "${packages[@]}"
	mapfile -t packages < <(missing "${wanted[@]}")
	if [ "${#packages[@]}" != 0 ]; then
		echo "install-services: still missing after the installation: ${packages[*]}" >&2
		exit 1
	fi
	echo "install-services: done; nothing was started"
}

main "$@"
