package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// guardScript cleans up after a caller that died. It blocks on a pipe whose other end only the caller holds:
// "done" means that the caller has stopped everything itself; the end of the file, that the caller is gone.
// Then it ends every process that works inside the directory ($1), politely first ($2 is the signal), and
// removes the directory. Working directories are looked at instead of process ids, because ids are reused
// and because services fork; each service here keeps its working directory inside its instance.
const guardScript = `
trap '' HUP INT TERM
read -r word
[ "$word" = done ] && exit 0
signal_all() {
	found=1
	for p in /proc/[0-9]*; do
		case "$(readlink "$p/cwd" 2>/dev/null)" in
		"$1" | "$1"/*) found=0; kill -s "$2" "${p#/proc/}" 2>/dev/null ;;
		esac
	done
	return $found
}
for round in 1 2 3 4 5 6 7 8 9 10; do
	signal_all "$1" "$2" || break
	sleep 0.1
done
for round in 1 2 3 4 5 6 7 8 9 10; do
	signal_all "$1" KILL || break
	sleep 0.1
done
rm -rf -- "$1"
`

// guard is the process that outlives its caller to clean up; one per instance.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// startGuard watches over dir. sig (a name as kill -s takes it) is what asks the service there to end at once.
func startGuard(dir, sig string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", dir, sig)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	// Its own session: a Ctrl-C or a kill of the caller's process group must not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return &guard{cmd, pipe}, nil
}

// dismiss ends the guard and leaves dir and processes alone. Its errors don't matter: a guard that is gone
// already has nothing to tell.
func (g *guard) dismiss() {
	_, _ = io.WriteString(g.pipe, "done\n")
	_ = g.pipe.Close()
	_ = g.cmd.Wait()
}

// makeDir makes an instance's directory below parent. When that is "", its path is short whatever TMPDIR says. Services
// that run as other users may pass through it.
func makeDir(parent, name string) (string, error) {
	if parent == "" {
		parent = os.TempDir()
		if len(parent) > 24 {
			parent = "/tmp"
		}
	}
	dir, err := os.MkdirTemp(parent, "lab-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- see above
		return "", fmt.Errorf("make directory: %w", err)
	}
	return dir, nil
}
