package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/lab"
)

// The accounts of the demo.
const (
	demoDomain = "example.test"
	demoAdmin  = "admin@" + demoDomain
	demoBob    = "bob@" + demoDomain
	demoHanako = "hanako@" + demoDomain
)

// The files of the demo's secrets.
const (
	demoAdminPassword   = "admin.password"
	demoMailboxPassword = "mailbox.password"
	demoAPIKey          = "api.key"
)

// Bounds on the demo's own processes; all take a fraction of that.
const (
	demoCommandTime = time.Minute
	demoReadyTime   = time.Minute
	demoStopTime    = 20 * time.Second
)

// demoDaemon is a running `mairust run`; ended is closed after it has been waited for.
type demoDaemon struct {
	process *os.Process
	ended   chan struct{}
}

// mairust runs a command of this program to its end and returns what it printed.
func (d *demo) mairust(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, demoCommandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.program, append(args, "--config", d.dir.configFile())...) // #nosec G204 -- this program
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("mairust %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// setUp makes the accounts; those of an earlier demo stay.
func (d *demo) setUp(ctx context.Context) error {
	for _, name := range []string{demoAdminPassword, demoMailboxPassword} {
		if _, err := d.dir.password(name); err != nil {
			return err
		}
	}
	out, err := d.mairust(ctx, "init", "--tenant", "example", "--domain", demoDomain,
		"--admin", demoAdmin, "--password-file", d.dir.secretFile(demoAdminPassword),
		"--mailbox", demoBob+","+demoHanako, "--mailbox-password-file", d.dir.secretFile(demoMailboxPassword))
	if err != nil {
		return err
	}
	word := "made"
	if !strings.Contains(out, "created") {
		word = "there from an earlier demo"
	}
	d.out.step("set-up", "tenant example, domain %s, admin, bob, hanako: %s", demoDomain, word)
	return nil
}

// startDaemon starts `mairust run` and waits until it is ready.
func (d *demo) startDaemon(ctx context.Context) error {
	began := time.Now()
	log, err := d.dir.root.OpenFile(demoLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("daemon's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the daemon has its own descriptor
	// Not ended by ctx: it is stopped after Postfix, politely.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.program, "run", "--config", d.dir.configFile()) // #nosec G204 -- this program
	cmd.Dir = d.dir.path
	cmd.Stdout, cmd.Stderr = log, log
	// A Ctrl-C reaches this process alone, and the daemon does not outlive it, however it dies.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	d.ports.release()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	d.daemon = &demoDaemon{process: cmd.Process, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is told by its log
		close(d.daemon.ended)
	}()
	if err := d.awaitReady(ctx); err != nil {
		return fmt.Errorf("start the daemon: %w; the end of %s:\n%s", err, d.dir.logFile(), d.dir.logTail())
	}
	d.out.step("MaiRust", "ready after %s: milter %s, LMTP %s, lookup %s", seconds(began), d.ports.milter, d.ports.lmtp, d.ports.lookup)
	return nil
}

func (d *demo) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoReadyTime)
	defer cancel()
	return lab.Eventually(ctx, func(ctx context.Context) error {
		select {
		case <-d.daemon.ended:
			cancel()
			return errors.New("it ended")
		default:
		}
		return ready(ctx, "http://"+d.ports.ops+"/health/ready")
	})
}

// ready says whether url answers 200.
func ready(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// stopDaemon ends the daemon; one that does not listen is killed.
func (d *demo) stopDaemon() error {
	if d.daemon == nil {
		return nil
	}
	began := time.Now()
	if err := d.daemon.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("daemon: %w", err)
	}
	select {
	case <-d.daemon.ended:
		d.out.step("MaiRust", "stopped after %s", seconds(began))
		return nil
	case <-time.After(demoStopTime):
	}
	err := d.daemon.process.Kill()
	<-d.daemon.ended
	return errors.Join(fmt.Errorf("daemon: did not stop within %s and was killed; see %s", demoStopTime, d.dir.logFile()), err)
}

// login gets an API key: that of the last time if it still opens, else a new one.
func (d *demo) login(ctx context.Context) error {
	create := func() (string, error) {
		return d.mairust(ctx, "apikey", "create", "--role", "super_admin", "--name", "demo")
	}
	key, err := d.dir.secret(demoAPIKey, create)
	if err != nil {
		return err
	}
	d.api = &demoAPI{base: "http://" + d.ports.http, key: key}
	err = d.api.get(ctx, "/api/v1/auth/me", nil)
	if !errors.Is(err, errDemoKey) {
		return err
	}
	if err := os.Remove(d.dir.secretFile(demoAPIKey)); err != nil {
		return fmt.Errorf("replace API key: %w", err)
	}
	d.api.key, err = d.dir.secret(demoAPIKey, create)
	return err
}
