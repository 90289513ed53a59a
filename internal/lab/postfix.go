package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// PostfixOptions describe a private Postfix. The zero value accepts mail for example.test and discards it.
// Values have main.cf's syntax.
type PostfixOptions struct {
	// Hostname is myhostname; default mx.example.test.
	Hostname string

	// Milter is smtpd_milters, for mail that comes over SMTP, for example "unix:/run/x.sock" or
	// "inet:127.0.0.1:8898". A socket must let user postfix connect: its mode, and each directory above it.
	Milter string
	// LocalMilter is non_smtpd_milters, for mail of the sendmail command.
	LocalMilter string

	// VirtualMailboxDomains are delivered by VirtualTransport; default example.test.
	VirtualMailboxDomains string
	// VirtualMailboxMaps says who exists there, for example "socketmap:inet:127.0.0.1:8899:mailboxes";
	// default static:ok (everybody).
	VirtualMailboxMaps string
	// VirtualTransport is for example "lmtp:unix:/run/lmtp.sock"; default discard:.
	VirtualTransport string

	// LocalDomains (mydestination) are delivered by local(8), one transaction for each recipient; default none.
	LocalDomains string
	// LocalRecipientMaps says who exists there; default empty (everybody).
	LocalRecipientMaps string
	// MailboxTransport is where local(8) delivers to, for example "lmtp:inet:127.0.0.1:2424"; it also needs
	// LocalDomains.
	MailboxTransport string

	// Users may log in on SubmissionAddr (name → password, AUTH PLAIN).
	Users map[string]string

	// Dir is where its directory, with the queue, is made; default the system's place for temporary files. Close leaves
	// what is in a Dir, for the caller to remove as a whole.
	Dir string

	// ExtraMain replaces or adds main.cf parameters.
	ExtraMain map[string]string
	// ExtraMaster are more lines of master.cf.
	ExtraMaster []string
}

// Postfix is a private Postfix. It never sends anything out: its relay host is a closed port of loopback.
// XCLIENT and XFORWARD are allowed from 127.0.0.1, which is otherwise a stranger (not in mynetworks).
type Postfix struct {
	// SMTPAddr takes mail from strangers, host:port.
	SMTPAddr string
	// SubmissionAddr takes mail after AUTH (or XCLIENT LOGIN=…) only; its {daemon_name} is ORIGINATING.
	SubmissionAddr string
	// Dir holds etc, queue, data and log.
	Dir string
	// LogFile is the mail log.
	LogFile string

	inst *instance
	sasl *saslServer
	opts PostfixOptions
}

// daemonDirs are where Postfix keeps master(8): Debian's place, and the usual one.
var daemonDirs = []string{"/usr/lib/postfix/sbin", "/usr/libexec/postfix"}

// StartPostfix starts a Postfix and waits until it greets. It needs root, as Postfix does, because its
// daemons run as the user postfix. Errors: ErrNotRoot, ErrMissing (packages postfix, postfix-pcre).
func StartPostfix(ctx context.Context, o PostfixOptions) (*Postfix, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("start postfix: %w: its daemons change to the user postfix", ErrNotRoot)
	}
	if _, err := masterProgram(); err != nil {
		return nil, err
	}
	var p *Postfix
	err := retry(ctx, "postfix", func(ctx context.Context) error {
		inst, err := newInstance(o.Dir, "pf", "KILL", nil)
		if err != nil {
			return err
		}
		p = &Postfix{Dir: inst.dir, LogFile: inst.path("log", "mail.log"), inst: inst, opts: o}
		if err := p.configure(); err != nil {
			return closeAfter(err, p)
		}
		return closeAfter(p.Start(ctx), p)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// masterProgram is the path of Postfix's main daemon.
func masterProgram() (string, error) {
	for _, dir := range daemonDirs {
		if path, err := exec.LookPath(filepath.Join(dir, "master")); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{Program: "postfix", Package: "postfix"}
}

// ConfDir is the configuration directory, for Postfix's commands (-c).
func (p *Postfix) ConfDir() string { return p.inst.path("etc") }

// restartAttempts is how often a Postfix that ends at once is started.
const restartAttempts = 20

// Start brings a stopped Postfix back, with its queue.
func (p *Postfix) Start(ctx context.Context) error {
	master, err := masterProgram()
	if err != nil {
		return err
	}
	// What a Postfix that was killed leaves behind may have its lock and its sockets for a moment more.
	for range restartAttempts {
		if err = p.inst.run(ctx, p.greets, master, "-c", p.ConfDir()); !errors.Is(err, errEnded) {
			break
		}
		time.Sleep(pollEvery)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(p.LogFile))
	}
	return nil
}

// greets says whether both listeners have sent their 220.
func (p *Postfix) greets(ctx context.Context) error {
	for _, addr := range []string{p.SMTPAddr, p.SubmissionAddr} {
		c, err := DialSMTP(ctx, addr)
		if err != nil {
			return err
		}
		_ = c.Close()
		if c.Greeting.Code != 220 {
			return fmt.Errorf("greeting of %s: %s", addr, c.Greeting)
		}
	}
	return nil
}

// Pid is the main process; the others are its children.
func (p *Postfix) Pid() int { return p.inst.pid() }

// Release puts all that is on hold into the queue (`postsuper -H ALL`); Flush delivers it.
func (p *Postfix) Release(ctx context.Context) error {
	_, err := p.tool(ctx, "postsuper", "-c", p.ConfDir(), "-H", "ALL")
	return err
}

// Stop ends Postfix's processes; the queue stays.
func (p *Postfix) Stop() { p.inst.stop(syscall.SIGTERM) }

// Close stops Postfix and removes its directory.
func (p *Postfix) Close() error {
	err := p.inst.close(syscall.SIGTERM)
	if p.sasl != nil {
		err = errors.Join(err, p.sasl.Close())
	}
	return err
}

// Reload makes Postfix read its configuration again (`postfix reload`).
func (p *Postfix) Reload(ctx context.Context) error {
	_, err := p.tool(ctx, "postfix", "-c", p.ConfDir(), "reload")
	return err
}

// Set changes a main.cf parameter and reloads.
func (p *Postfix) Set(ctx context.Context, name, value string) error {
	if _, err := p.tool(ctx, "postconf", "-c", p.ConfDir(), "-e", name+"="+value); err != nil {
		return err
	}
	if err := p.cool(); err != nil {
		return err
	}
	return p.Reload(ctx)
}

// Conf is the value of a main.cf parameter as Postfix sees it.
func (p *Postfix) Conf(ctx context.Context, name string) (string, error) {
	out, err := p.tool(ctx, "postconf", "-c", p.ConfDir(), "-h", name)
	return strings.TrimSpace(out), err
}

// Flush tries to deliver everything that is queued now (`postqueue -f`).
func (p *Postfix) Flush(ctx context.Context) error {
	_, err := p.tool(ctx, "postqueue", "-c", p.ConfDir(), "-f")
	return err
}

// Queue is what is queued, as the lines of `postqueue -j`: one JSON object for each message, "" when empty.
func (p *Postfix) Queue(ctx context.Context) (string, error) {
	return p.tool(ctx, "postqueue", "-c", p.ConfDir(), "-j")
}

// QueueEmpty says whether nothing is queued now.
func (p *Postfix) QueueEmpty(ctx context.Context) (bool, error) {
	q, err := p.Queue(ctx)
	return err == nil && strings.TrimSpace(q) == "", err
}

// WaitQueueEmpty waits until nothing is queued; the error tells what still is.
func (p *Postfix) WaitQueueEmpty(ctx context.Context) error {
	return Eventually(ctx, func(ctx context.Context) error {
		q, err := p.Queue(ctx)
		if err == nil && strings.TrimSpace(q) != "" {
			err = fmt.Errorf("queued: %s", q)
		}
		return err
	})
}

// Log is the mail log so far.
func (p *Postfix) Log() string { return readLog(p.LogFile) }

// WaitLog waits until the mail log contains text.
func (p *Postfix) WaitLog(ctx context.Context, text string) error {
	return Eventually(ctx, func(context.Context) error {
		if !strings.Contains(p.Log(), text) {
			return fmt.Errorf("%q is not in the mail log", text)
		}
		return nil
	})
}

// Sendmail submits the message of r as a local process does, with the sendmail command (it passes
// LocalMilter). Lines may end in LF. It returns when the message is in the maildrop queue.
func (p *Postfix) Sendmail(ctx context.Context, from string, rcpts []string, r io.Reader) error {
	program, err := findProgram("sendmail", "postfix")
	if err != nil {
		return err
	}
	args := append([]string{"-C", p.ConfDir(), "-i", "-f", from, "--"}, rcpts...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Stdin = r
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail: %w: %s", err, out)
	}
	return nil
}

// tool runs one of Postfix's commands.
func (p *Postfix) tool(ctx context.Context, name string, args ...string) (string, error) {
	program, err := findProgram(name, "postfix")
	if err != nil {
		return "", err
	}
	return runTool(ctx, nil, program, args...)
}

// configure picks ports, makes Postfix's directories and writes main.cf and master.cf.
func (p *Postfix) configure() error {
	smtp, errSMTP := freePort()
	submission, errSubmission := freePort()
	if err := errors.Join(errSMTP, errSubmission); err != nil {
		return err
	}
	p.SMTPAddr, p.SubmissionAddr = loopback(smtp), loopback(submission)
	sasl, err := listenSASL(p.opts.Users)
	if err != nil {
		return err
	}
	p.sasl = sasl
	if err := p.inst.write("log/mail.log", ""); err != nil {
		return err
	}
	if err := p.makeDirs(); err != nil {
		return err
	}
	if err := p.inst.write("etc/main.cf", p.mainCf()); err != nil {
		return err
	}
	if err := p.inst.write("etc/master.cf", p.masterCf()); err != nil {
		return err
	}
	return p.cool()
}

// queueDirs are what Postfix's file postfix-files lists below queue_directory: mode, and whether the group is
// setgid_group. Letting `postfix check` make them takes a second.
var queueDirs = []struct {
	name     string
	mode     os.FileMode
	postdrop bool
}{
	{"active", 0o700, false}, {"bounce", 0o700, false}, {"corrupt", 0o700, false}, {"defer", 0o700, false},
	{"deferred", 0o700, false}, {"flush", 0o700, false}, {"hold", 0o700, false}, {"incoming", 0o700, false},
	{"private", 0o700, false}, {"saved", 0o700, false}, {"trace", 0o700, false},
	{"maildrop", 0o730, true}, {"public", 0o710, true},
}

// makeDirs makes the data directory and the queue, which belong to the user postfix, and the pid directory.
func (p *Postfix) makeDirs() error {
	as, errUser := serviceAccount("postfix")
	postdrop, errGroup := groupID("postdrop")
	if err := errors.Join(errUser, errGroup); err != nil {
		return err
	}
	for _, dir := range []string{"queue", "queue/pid"} {
		if err := os.Mkdir(p.inst.path(dir), 0o755); err != nil { // #nosec G301 -- as postfix-files has it
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := makeOwned(p.inst.path("data"), 0o700, as.uid, as.gid); err != nil {
		return err
	}
	for _, d := range queueDirs {
		gid := uint32(0)
		if d.postdrop {
			gid = postdrop
		}
		if err := makeOwned(p.inst.path("queue", d.name), d.mode, as.uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// makeOwned makes a directory with exactly this mode and owner.
func makeOwned(path string, mode os.FileMode, uid, gid uint32) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := errors.Join(os.Chmod(path, mode), os.Chown(path, int(uid), int(gid))); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// cool gives main.cf an older date. Every Postfix program that finds it changed within the last two seconds reads
// it again and again, in case it is being written, until it has cooled down.
func (p *Postfix) cool() error {
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(p.inst.path("etc", "main.cf"), old, old); err != nil {
		return fmt.Errorf("date main.cf: %w", err)
	}
	return nil
}

// addrOf is "inet:host:port" of a listener, in Postfix's spelling.
func addrOf(l net.Listener) string { return "inet:" + l.Addr().String() }
