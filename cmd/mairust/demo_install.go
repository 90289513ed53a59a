package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// installTime bounds each of the commands of an installation.
const installTime = 10 * time.Minute

// installPostfix installs the package without starting its service, now or at the next boot. A Ctrl-C waits for the end, since a
// package that is half installed is worse than one that is.
func (d *demo) installPostfix(ctx context.Context) error {
	d.out.step("Postfix", "not installed: installing it now with apt-get (about a minute; nothing is started) ...")
	ctx = context.WithoutCancel(ctx)
	services, err := forbidServices(ctx, servicePolicy)
	if err != nil {
		return err
	}
	// Lists that cannot be fetched may be there from before: the installation tells.
	updateErr := services.run(ctx, "apt-get", "update", "-qq")
	err = services.run(ctx, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0",
		"-o", "Dpkg::Options::=--force-confold", "-o", "Acquire::Retries=3", "postfix")
	if err != nil {
		err = errors.Join(updateErr, err)
	}
	// Also after an error: the package may be there all the same.
	command := atBoot("disable")
	bootErr := services.run(ctx, command...)
	if err = errors.Join(err, services.end()); err != nil {
		return err
	}
	if bootErr != nil {
		d.out.step("", "Installed, not started. It will start at the next boot: %v. To prevent that: %s", bootErr, strings.Join(command, " "))
	} else {
		d.out.step("", "Installed. The machine's own Postfix was not started, and does not start at boot (%s).", strings.Join(command, " "))
	}
	d.out.step("", "To use it: %s; to remove it: apt-get purge postfix", strings.Join(atBoot("enable"), " "))
	return nil
}

// atBoot is the command that has the machine's own Postfix start at boot, or not: what is enable or disable.
func atBoot(what string) []string {
	if found("systemctl") {
		return []string{"systemctl", what, "postfix"}
	}
	return []string{"update-rc.d", "postfix", what}
}

// servicePolicy is asked by invoke-rc.d and deb-systemd-invoke before a package starts its service.
const servicePolicy = "/usr/sbin/policy-rc.d"

// ownPolicy forbids all, and tells whose it is.
const ownPolicy = "#!/bin/sh\n# Of mairust demo, while it installs Postfix. When none runs, this may be removed.\nexit 101\n"

// forbidden is what a policy exits with when a service is not to be started.
const forbidden = 101

var errInstalling = errors.New("another demo installs it now")

// forbiddance keeps packages from starting their services while it lasts.
type forbiddance struct {
	// policy is our own file; empty when one of the machine's own forbids it.
	policy string
	// lock is held by what was run too: when this process is killed, apt-get goes on.
	lock *os.File
}

// forbidServices forbids it until end is called. A policy of the machine's own stays; it is an error when that would let Postfix start.
func forbidServices(ctx context.Context, policy string) (*forbiddance, error) {
	lock, err := lockPolicy(policy)
	if err != nil {
		return nil, err
	}
	f := &forbiddance{lock: lock}
	switch content, err := os.ReadFile(policy); {
	case errors.Is(err, fs.ErrNotExist):
		f.policy = policy
		err = os.WriteFile(policy, []byte(ownPolicy), 0o755) // #nosec G306 -- a program
		if err != nil {
			return nil, errors.Join(err, f.end())
		}
	case err != nil:
		return nil, errors.Join(err, f.end())
	case string(content) == ownPolicy: // of a demo that was killed
		f.policy = policy
	default:
		if err := forbids(ctx, policy); err != nil {
			return nil, errors.Join(err, f.end())
		}
	}
	return f, nil
}

// lockPolicy lets one process at a time handle our policy: by its directory, as a program that somebody writes to cannot be run.
func lockPolicy(policy string) (*os.File, error) {
	f, err := os.Open(filepath.Dir(policy))
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errInstalling
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// forbids asks a policy, under both names that Postfix is asked for, whether it keeps it from starting.
func forbids(ctx context.Context, policy string) error {
	for _, name := range []string{"postfix", "postfix.service"} {
		ctx, cancel := context.WithTimeout(ctx, installTime)
		defer cancel()
		err := exec.CommandContext(ctx, policy, name, "start").Run() // #nosec G204 -- servicePolicy
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != forbidden {
			return fmt.Errorf("the %s of this machine would let it start: install it yourself", policy)
		}
	}
	return nil
}

// end takes our policy away.
func (f *forbiddance) end() error {
	var err error
	if f.policy != "" {
		err = os.Remove(f.policy)
	}
	return errors.Join(err, f.lock.Close())
}

// run runs a command of an installation.
func (f *forbiddance) run(ctx context.Context, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) // #nosec G204 -- from installPostfix alone
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{f.lock}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	_, why, ok := strings.Cut("\n"+string(out), "\nE: ")
	if !ok {
		why = string(out)
	}
	return fmt.Errorf("%s: %w: %s", strings.Join(command[:min(len(command), 2)], " "), err, oneLine(why, 300))
}

// clearPolicy takes away what a demo left that was killed while it installed Postfix, and tells who runs this.
func clearPolicy(policy string, out demoPrinter) error {
	content, err := os.ReadFile(policy)
	if os.Geteuid() != 0 || err != nil || string(content) != ownPolicy {
		return nil //nolint:nilerr // mostly there is none
	}
	lock, err := lockPolicy(policy)
	if errors.Is(err, errInstalling) {
		return nil
	}
	if err != nil {
		return err
	}
	err = (&forbiddance{policy: policy, lock: lock}).end()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another demo was about to end
	}
	if err != nil {
		return err
	}
	out.step("Postfix", "an earlier demo was killed while it installed it. Its %s, which kept all services from starting, is removed.", policy)
	out.step("", "If Postfix is not to start at boot: %s", strings.Join(atBoot("disable"), " "))
	return nil
}
