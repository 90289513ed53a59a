package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// diskFor is the size of an image in MB that nothing fills: 8 connections write up to 600 MB of mail a second, 32 of messages of
// 50 KB up to 250, of 4 KB with what the database has of them up to 100; a stored message takes up to 5 KB of a database with its log.
func diskFor(o options) int {
	if os.Geteuid() != 0 {
		return 0
	}
	perSecond := 100
	for _, l := range deliveryLoads {
		if !o.loads.MatchString(l.String()) || !o.parts.MatchString("delivery") {
			continue
		}
		switch {
		case l.size > 100<<10:
			perSecond = max(perSecond, 600)
		case l.size > 10<<10:
			perSecond = max(perSecond, 250)
		}
	}
	stored := 0
	if o.parts.MatchString("growth") {
		stored = slices.Max(o.messages) * 5 / 1000
	}
	return 2048 + stored + perSecond*int(o.lasting.Seconds())
}

// peers are the other programs, and which word of what they say is their version.
var peers = []struct {
	name    string
	command []string
	word    int
}{
	{"Dovecot", []string{"dovecot", "--version"}, 0},
	{"Postfix", []string{"/usr/sbin/postconf", "-h", "mail_version"}, 0},
	{"PostgreSQL", []string{"psql", "--version"}, 2},
}

// machine is where and how it was measured.
func machine(ctx context.Context, o options) (string, error) {
	version, err := tool(ctx, o.mairust, "--version")
	if err != nil {
		return "", err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	cpu, err := cpuModel()
	if err != nil {
		return "", err
	}
	facts := []string{time.Now().UTC().Format(time.DateOnly), fmt.Sprintf("%d × %s", runtime.NumCPU(), cpu), "Linux " + string(bytes.TrimSpace(kernel)),
		strings.TrimSpace(string(version))}
	for _, peer := range peers {
		said, err := tool(ctx, peer.command[0], peer.command[1:]...)
		if words := strings.Fields(string(said)); err == nil && len(words) > peer.word {
			facts = append(facts, peer.name+" "+words[peer.word]) // else it is not installed, so not measured
		}
	}
	facts = append(facts, fmt.Sprintf("medians of %d × %g s", o.repeat, o.lasting.Seconds()))
	return strings.Join(facts, "; ") + ".", nil
}

func cpuModel() (string, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value), nil
		}
	}
	return runtime.GOARCH, lines.Err()
}

// flushes tells on what the servers write, and what a flush costs there.
func (b *bench) flushes(ctx context.Context) (string, error) {
	bare, err := flushTime(ctx, b.disk.dir)
	if err != nil {
		return "", err
	}
	if b.disk.device == nil {
		kind, err := tool(ctx, "findmnt", "--noheadings", "--output=FSTYPE", "--target", b.disk.dir)
		return fmt.Sprintf("NOT a fresh file system for each run (not root, or not wanted), but directories on %s in use: what ran before may slow "+
			"what runs after. 4 KB written and flushed: %s.", bytes.TrimSpace(kind), bare), err
	}
	var fresh time.Duration
	err = b.onFreshDisk(ctx, func(dir string) error {
		fresh, err = flushTime(ctx, dir)
		return err
	})
	return fmt.Sprintf("A fresh ext4 in an image for each run. 4 KB written and flushed: %s there, %s on the disk below.", fresh, bare), err
}
