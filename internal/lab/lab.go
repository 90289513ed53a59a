// Package lab runs the real services MaiRust lives with — Postfix, rspamd, PostgreSQL, Redis, MinIO — as private
// instances: for tests (through lab/labtest) and for `mairust demo`.
//
// Each instance has a directory of its own with a short path (a unix socket's path ends at 107 bytes), free
// ports on loopback, and its own processes, which are stopped by their own ids. Nothing of the host's
// configuration is read or changed beyond the programs' stock files, and any number may run at once.
//
// Nothing stays behind: Close stops the processes and removes the directory, and if the calling process dies
// first, however it dies, a small guard process does the same (see guard.go).
//
// Every type has the same verbs: Start… makes an instance that is ready to serve; Stop and Start take a
// service away and bring it back on the same port, with its data; Close ends it. They may be called from
// several goroutines, one at a time per instance.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrMissing is matched by the error of a Start… whose program is not installed; see MissingError.
var ErrMissing = errors.New("program not installed")

// ErrNotRoot is matched by the error of StartPostfix when the process is not root.
var ErrNotRoot = errors.New("needs root")

// startTimeout bounds the start of one service; rspamd compiles its patterns for 10 seconds the first time, longer
// on a busy machine.
const startTimeout = 3 * time.Minute

// startAttempts is how often a start is tried, each time with new ports: a port that was free when it was
// looked for can be taken a moment later.
const startAttempts = 3

// MissingError says which program was not found and which Debian package brings it.
// errors.Is(err, ErrMissing) is true for it.
type MissingError struct {
	Program string
	Package string
}

// Error names the program and the package to install.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s: %v (Debian package %s)", e.Program, ErrMissing, e.Package)
}

// Is makes every MissingError match ErrMissing.
func (e *MissingError) Is(target error) bool { return target == ErrMissing }

// findProgram looks in PATH and where Debian keeps daemons, which a plain user's PATH lacks.
func findProgram(name, debianPackage string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{Program: name, Package: debianPackage}
}

// account is the user a service runs as; nil means the caller's own.
type account struct{ uid, gid uint32 }

// serviceAccount is the first of names that exists, or nil when the process is not root: then it could not
// change to it, and the service runs as the caller.
func serviceAccount(names ...string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{uint32(uid), uint32(gid)}, nil
	}
	return nil, fmt.Errorf("no user of %q exists", names)
}

// groupID looks a group up.
func groupID(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", name, err)
	}
	return uint32(gid), nil
}

// credential is what os/exec needs to run as a.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own gives everything under dir to a.
func (a *account) own(dir string) error {
	if a == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.uid), int(a.gid)) // #nosec G122 -- a directory nobody else knows yet
	})
}

// runTool runs a short command to its end and returns what it wrote to standard output.
// The error carries what it wrote to standard error.
func runTool(ctx context.Context, as *account, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as.credential()}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return string(out), fmt.Errorf("%s: %w: %s", filepath.Base(name), err, exit.Stderr)
		}
		return string(out), fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return string(out), nil
}

// retry calls start until it succeeds, at most startAttempts times, within startTimeout.
func retry(ctx context.Context, what string, start func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	for range startAttempts {
		if err = start(ctx); err == nil {
			return nil
		}
		if errors.Is(err, ErrMissing) || ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("start %s: %w", what, err)
}
