package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Freeze makes every process of the server hang (SIGSTOP): it keeps its connections and answers nothing. Thaw
// lets it go on; so does Close.
func (p *Postgres) Freeze() error { return signalWithin(p.server.data(), syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (p *Postgres) Thaw() error { return signalWithin(p.server.data(), syscall.SIGCONT) }

// signalWithin signals every process whose working directory is dir. Backends of PostgreSQL have sessions of their
// own, so that no process group holds them all.
func signalWithin(dir string, sig syscall.Signal) error {
	found, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return fmt.Errorf("signal the processes in %s: %w", dir, err)
	}
	var errs []error
	n := 0
	for _, link := range found {
		if at, err := os.Readlink(link); err != nil || at != dir {
			continue // it has ended, or is none of ours
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			continue
		}
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
		n++
	}
	if n == 0 {
		errs = append(errs, fmt.Errorf("no process works in %s", dir))
	}
	return errors.Join(errs...)
}
