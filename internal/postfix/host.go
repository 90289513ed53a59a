package postfix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Errors of Find that a caller can test for.
var (
	// ErrMissing: no Postfix is installed.
	ErrMissing = errors.New("postfix is not installed")
	// ErrTooOld: the Postfix is older than 3.5.
	ErrTooOld = errors.New("postfix is older than 3.5")
)

// toolTimeout bounds one of Postfix's commands.
const toolTimeout = time.Minute

// Host is a Postfix instance on this host.
type Host struct {
	// Dir is the configuration directory, absolute.
	Dir string
	// Version is mail_version, such as "3.7.11".
	Version string

	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Find looks for Postfix's commands and checks their version. dir is the configuration directory; when it is empty
// Postfix's own default is taken. Errors: ErrMissing, ErrTooOld, or that the directory cannot be read.
func Find(ctx context.Context, dir string) (*Host, error) {
	out, err := run(ctx, nil, "postconf", "-d", "mail_version", "config_directory")
	if err != nil {
		return nil, err
	}
	defaults := parseValues(out)
	h := &Host{Dir: dir, Version: defaults["mail_version"]}
	if h.Dir == "" {
		h.Dir = defaults["config_directory"]
	}
	if !atLeast(h.Version, 3, 5) {
		return nil, fmt.Errorf("%w: it is %s, and MaiRust needs what 3.5 brought", ErrTooOld, h.Version)
	}
	if h.Dir, err = filepath.Abs(h.Dir); err != nil {
		return nil, fmt.Errorf("configuration directory: %w", err)
	}
	for _, name := range []string{mainName, masterName} {
		if _, err := os.ReadFile(h.path(name)); err != nil {
			return nil, fmt.Errorf("read Postfix's configuration: %w", err)
		}
	}
	return h, nil
}

// The files of a configuration directory.
const (
	mainName   = "main.cf"
	masterName = "master.cf"
)

func (h *Host) path(names ...string) string {
	return filepath.Join(append([]string{h.Dir}, names...)...)
}

func (h *Host) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// atLeast compares a version such as "3.10-20240504" by its first two numbers.
func atLeast(version string, major, minor int) bool {
	parts := strings.FieldsFunc(version, func(r rune) bool { return r == '.' || r == '-' })
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// Name is myhostname, as Postfix tells it to milters.
func (h *Host) Name(ctx context.Context) (string, error) {
	out, err := run(ctx, nil, "postconf", "-c", h.Dir, "-x", "-h", "myhostname")
	return strings.TrimSpace(out), err
}

// Reload makes the running Postfix read its configuration, and records that. It reports false when none runs: its next start
// reads it.
func (h *Host) Reload(ctx context.Context) (running bool, err error) {
	if _, err := run(ctx, nil, "postfix", "-c", h.Dir, "status"); err != nil {
		return false, h.noteReload() // status fails when nothing runs; that is the answer
	}
	if _, err := run(ctx, nil, "postfix", "-c", h.Dir, "reload"); err != nil {
		return true, fmt.Errorf("reload Postfix: %w", err)
	}
	return true, h.noteReload()
}

// sbin is where Postfix's commands are when PATH does not have them.
var sbin = []string{"/usr/sbin", "/usr/local/sbin"}

func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: no command %s", ErrMissing, name)
}

// toolError is a command that ended badly.
type toolError struct {
	name   string
	stderr string
	err    error
}

func (e *toolError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("%s: %v", e.name, e.err)
	}
	return fmt.Sprintf("%s: %s", e.name, e.stderr)
}

func (e *toolError) Unwrap() error { return e.err }

// run runs one of Postfix's commands to its end, and gives what it wrote to standard output.
func run(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	path, err := program(name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...) // #nosec G204 -- Postfix's own commands, no shell
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), &toolError{name, strings.TrimSpace(stderr.String()), err}
	}
	return stdout.String(), nil
}

// parseValues reads postconf's lines "name = value".
func parseValues(out string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, "="); ok {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return values
}
