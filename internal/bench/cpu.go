package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// treeCPU is the CPU time that a process and all below it have used, those that have ended included.
func treeCPU(pid int) (time.Duration, error) {
	const ticksPerSecond = 100 // USER_HZ on every Linux that Go runs on
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	parent, used := map[int]int{}, map[int]int{}
	for _, path := range stats {
		raw, err := os.ReadFile(path) // #nosec G304 -- the kernel's
		if err != nil {
			continue // it has ended
		}
		id, above, ticks, err := parseStat(raw)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		parent[id], used[id] = above, ticks
	}
	if _, alive := used[pid]; !alive {
		return 0, fmt.Errorf("process %d is gone", pid)
	}
	total := 0
	for id := range used {
		for at := id; at > 1; at = parent[at] {
			if at == pid {
				total += used[id]
				break
			}
		}
	}
	return time.Duration(total) * time.Second / ticksPerSecond, nil
}

// parseStat takes process id, parent and ticks (its own, and those of the children that it has waited for) from
// /proc/<pid>/stat (proc(5)).
func parseStat(raw []byte) (pid, parent, ticks int, err error) {
	name, rest, found := bytes.Cut(raw, []byte(" ("))
	fields := strings.Fields(string(rest[bytes.LastIndexByte(rest, ')')+1:]))
	if !found || len(fields) < 15 {
		return 0, 0, 0, fmt.Errorf("unknown form %q", raw)
	}
	numbers := []string{string(name), fields[1], fields[11], fields[12], fields[13], fields[14]}
	var n [6]int
	for i, text := range numbers {
		if n[i], err = strconv.Atoi(text); err != nil {
			return 0, 0, 0, err
		}
	}
	return n[0], n[1], n[2] + n[3] + n[4] + n[5], nil
}
