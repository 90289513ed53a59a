package postfix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Site is what a Postfix is configured to do, as two files say it.
type Site struct {
	Host   *Host
	Main   *MainCF
	Master *MasterCF

	raw      map[string]string // every parameter, not expanded
	expanded map[string]string
}

// Read has postconf explain the two files, which need not be those of the configuration directory.
func (h *Host) Read(ctx context.Context, main *MainCF, master *MasterCF) (*Site, error) {
	dir, err := h.scratch(main.String(), master.String())
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	s := &Site{Host: h, Main: main, Master: master}
	if s.raw, err = values(ctx, h, dir); err == nil {
		s.expanded, err = values(ctx, h, dir, "-x")
	}
	if err != nil {
		return nil, fmt.Errorf("read Postfix's configuration: %w", err)
	}
	return s, nil
}

func values(ctx context.Context, h *Host, dir string, flags ...string) (map[string]string, error) {
	out, err := run(ctx, nil, "postconf", append([]string{"-c", dir}, flags...)...)
	if err != nil {
		return nil, err
	}
	return parseValues(strings.ReplaceAll(out, dir, h.Dir)), nil
}

// ownFiles are what Postfix's programs read of a configuration directory beside main.cf and master.cf.
var ownFiles = []string{"dynamicmaps.cf", "dynamicmaps.cf.d", "postfix-files", "postfix-files.d", "post-install", "postfix-script"}

// scratch makes a configuration directory with these two files and copies of Postfix's own.
func (h *Host) scratch(main, master string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "mairust-postfix-"); err != nil {
		return "", fmt.Errorf("copy configuration: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copy configuration: %w", err), os.RemoveAll(dir))
		}
	}()
	for _, name := range ownFiles {
		if err := copyAll(h.path(name), filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{mainName: main, masterName: master} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		// Postfix reads a file that was changed within the last seconds again and again, in case it is being written.
		old := time.Now().Add(-time.Minute)
		if err := os.Chtimes(path, old, old); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// copyAll copies a file, or a directory of files; what does not exist is left out.
func copyAll(from, to string) error {
	info, err := os.Stat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return os.CopyFS(to, os.DirFS(from))
	}
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, info.Mode().Perm()) // #nosec G703 -- names from a fixed list, in a directory of our own
	}
	return err
}

// Value is a parameter with everything in it expanded.
func (s *Site) Value(name string) string { return s.expanded[name] }

// Raw is a parameter as it is written, or its default.
func (s *Site) Raw(name string) string { return s.raw[name] }

// Chrooted says whether a service runs in the queue directory.
func (s *Site) Chrooted(v Service) bool {
	if v.Chroot != "-" {
		return v.Chroot == "y"
	}
	level, _, _ := strings.Cut(s.Value("compatibility_level"), ".")
	n, err := strconv.Atoi(level)
	return err == nil && n < 1
}

// listable are the table types whose keys postmap can give.
var listable = map[string]bool{"hash": true, "btree": true, "lmdb": true, "texthash": true, "inline": true}

// domains lists the domains of a parameter such as virtual_mailbox_domains. complete is false when it has patterns
// or tables that cannot be listed.
func (s *Site) domains(ctx context.Context, name string) (list []string, complete bool, err error) {
	complete = true
	for _, f := range Fields(s.Value(name)) {
		kind, _, isTable := strings.Cut(strings.TrimPrefix(f, "proxy:"), ":")
		switch {
		case strings.HasPrefix(f, "/"):
			text, err := os.ReadFile(f)
			if err != nil {
				return nil, false, fmt.Errorf("%s: %w", name, err)
			}
			for line := range strings.Lines(string(text)) {
				if !isComment(line) {
					list = append(list, Fields(line)...)
				}
			}
		case isTable && !strings.HasPrefix(f, "[") && listable[kind]:
			out, err := run(ctx, nil, "postmap", "-c", s.Host.Dir, "-s", strings.TrimPrefix(f, "proxy:"))
			if err != nil {
				return nil, false, fmt.Errorf("%s: %w", name, err)
			}
			for line := range strings.Lines(out) {
				list = append(list, Fields(line)[:1]...)
			}
		case isTable, strings.HasPrefix(f, "!"), strings.HasPrefix(f, "."):
			complete = false
		default:
			list = append(list, f)
		}
	}
	for i := range list {
		list[i] = strings.ToLower(list[i])
	}
	return list, complete, nil
}

// hasDomain asks every table and list of a parameter for one domain.
func (s *Site) hasDomain(ctx context.Context, name, domain string) (bool, error) {
	list, _, err := s.domains(ctx, name)
	if err != nil {
		return false, err
	}
	for _, d := range list {
		if d == domain {
			return true, nil
		}
	}
	_, found, err := s.find(ctx, name, domain)
	return found, err
}

// find looks keys up in the tables of a parameter, each key in all tables first, as Postfix does.
func (s *Site) find(ctx context.Context, name string, keys ...string) (value string, found bool, err error) {
	for _, key := range keys {
		for _, table := range Fields(s.Value(name)) {
			table = strings.TrimPrefix(table, "proxy:")
			if !strings.Contains(table, ":") || strings.HasPrefix(table, "/") {
				continue
			}
			out, err := run(ctx, nil, "postmap", "-c", s.Host.Dir, "-q", key, table)
			var exit *exec.ExitError
			var tool *toolError
			switch {
			case err == nil:
				return strings.TrimSpace(out), true, nil
			case errors.As(err, &exit) && exit.ExitCode() == 1 && errors.As(err, &tool) && tool.stderr == "":
			default:
				return "", false, fmt.Errorf("look up %s in %s: %w", key, table, err)
			}
		}
	}
	return "", false, nil
}
