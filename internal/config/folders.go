package config

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// nestedFolders says that files of one folder are in the other too, whatever names lead there. Folders need not exist yet,
// and what cannot be looked at counts by its path alone.
func nestedFolders(a, b string) bool {
	return inside(a, b) || inside(b, a)
}

// inside says that one of the folders on the way from the root to inner is outer: by name, by device and inode, or by the
// place in the file system that a mount shows.
func inside(inner, outer string) bool {
	if isBelow(inner, outer) {
		return true
	}
	inner, outer = realPath(inner), realPath(outer)
	if is, err := os.Stat(outer); err == nil {
		for dir := inner; ; dir = filepath.Dir(dir) {
			if on, err := os.Stat(dir); err == nil && os.SameFile(is, on) {
				return true
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	mounts := readMounts()
	return isBelow(mounts.place(inner), mounts.place(outer))
}

func isBelow(inner, outer string) bool {
	down, err := filepath.Rel(outer, inner)
	return err == nil && filepath.IsLocal(down)
}

// realPath follows the symbolic links in what exists of a path.
func realPath(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if is, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(is, rest)
		}
		if dir == filepath.Dir(dir) {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// mount shows a folder of a file system at a point.
type mount struct{ device, folder, point string }

type mounts []mount

// readMounts gives nothing where the kernel does not tell (proc_pid_mountinfo(5)).
func readMounts() (list mounts) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			list = append(list, mount{fields[2], unescape(fields[3]), unescape(fields[4])})
		}
	}
	return list
}

// place is where a path without symbolic links lies: /DEVICE/FOLDER. The last of the mounts that have it is the one that is
// seen, the one with the longest point among nested ones.
func (list mounts) place(path string) string {
	found := mount{}
	for _, m := range list {
		if len(m.point) >= len(found.point) && isBelow(path, m.point) {
			found = m
		}
	}
	rest, err := filepath.Rel(found.point, path)
	if err != nil {
		return path
	}
	return filepath.Join("/", found.device, found.folder, rest)
}

// unescape undoes the octal escapes of white space and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
