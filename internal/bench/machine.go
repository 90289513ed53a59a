package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// diskFor is an image that the largest load does not fill: 8 connections write up to 400 MB of mail a second.
func diskFor(o options) int {
	if os.Geteuid() != 0 {
		return 0
	}
	perSecond := 100
	for _, l := range deliveryLoads {
		if o.loads.MatchString(l.String()) && o.parts.MatchString("delivery") && l.size > 100<<10 {
			perSecond = 400
		}
	}
	return 2048 + perSecond*o.seconds
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
		strings.Join(strings.Fields(string(version)), " ")}
	for _, peer := range [][]string{{"dovecot", "--version"}, {"/usr/sbin/postconf", "-h", "mail_version"}, {"psql", "--version"}} {
		said, err := tool(ctx, peer[0], peer[1:]...)
		if err != nil {
			continue // not installed, so not measured
		}
		facts = append(facts, strings.TrimPrefix(peer[0], "/usr/sbin/")+" "+string(bytes.TrimSpace(said)))
	}
	facts = append(facts, fmt.Sprintf("medians of %d × %d s", o.repeat, o.seconds))
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
	bare, err := flushTime(b.disk.dir)
	if err != nil {
		return "", err
	}
	if b.disk.device == nil {
		return fmt.Sprintf("Plain directories on a file system in use (no image: not root, or not wanted): what ran before slows what runs after. "+
			"4 KB written and flushed: %s.", bare), nil
	}
	var fresh time.Duration
	err = b.onFreshDisk(ctx, func(dir string) error {
		fresh, err = flushTime(dir)
		return err
	})
	return fmt.Sprintf("A fresh ext4 in an image for each run. 4 KB written and flushed: %s there, %s on the disk below.", fresh, bare), err
}
