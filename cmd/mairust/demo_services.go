package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/lab"
)

// demoSenders is all that rspamd can resolve: a provider that authorises the address the demo sends from.
var demoSenders = lab.DNSRecords{
	"sender.test":             {"TXT v=spf1 ip4:192.0.2.25 -all", "MX 10 mx.sender.test", "A 192.0.2.25"},
	"_dmarc.sender.test":      {"TXT v=DMARC1; p=none"},
	"mx.sender.test":          {"A 192.0.2.25"},
	"25.2.0.192.in-addr.arpa": {"PTR mx.sender.test"},
	demoDomain:                {"MX 10 mx." + demoDomain},
	"mx." + demoDomain:        {"A 127.0.0.1"},
	"1.0.0.127.in-addr.arpa":  {"PTR localhost"},
}

// preparePostfix finds out whether there can be a Postfix, and installs it when it is missing. Without one the demo
// goes on and says why.
func (d *demo) preparePostfix(ctx context.Context) error {
	why := ""
	switch {
	case os.Geteuid() != 0:
		why = "it needs root, and this runs as " + userName()
	case postfixInstalled():
	case d.options.noInstall:
		why = "it is not installed, and --no-install was given"
	case !found("apt-get"):
		why = "it is not installed, and there is no apt-get to install it with"
	default:
		if err := d.installPostfix(ctx); err != nil {
			why = "it could not be installed: " + err.Error()
		}
	}
	if why != "" {
		d.withoutPostfix(why)
	}
	return nil
}

// postfixInstalled looks where Debian keeps it too, which is not in everybody's PATH.
func postfixInstalled() bool { return found("postfix") || found("/usr/sbin/postfix") }

// found says whether a program is there.
func found(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func (d *demo) withoutPostfix(why string) {
	d.lmtpOnly = true
	d.out.step("Postfix", "none: %s.", strings.TrimSpace(why))
	d.out.step("", "Mail goes straight to LMTP instead. The milter is not shown: mail is tagged unscanned, no spam, no GTUBE.")
}

// startPostfix starts a private Postfix. It is the last to start: it asks the milter before it greets anybody.
func (d *demo) startPostfix(ctx context.Context) error {
	if d.lmtpOnly {
		return nil
	}
	began := time.Now()
	p, err := d.newPostfix(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.withoutPostfix("it did not start: " + err.Error())
		}
		return nil
	}
	d.postfix = p
	d.out.step("Postfix", "private, ready after %s: SMTP %s, in %s", seconds(began), p.SMTPAddr, p.Dir)
	return nil
}

// newPostfix wires Postfix as an installation is: scanned by the milter, recipients from the lookup, delivered by LMTP.
func (d *demo) newPostfix(ctx context.Context) (*lab.Postfix, error) {
	table := "socketmap:inet:" + d.ports.lookup + ":"
	return lab.StartPostfix(ctx, lab.PostfixOptions{
		Milter: "inet:" + d.ports.milter, LocalMilter: "inet:" + d.ports.localMilter,
		VirtualMailboxDomains: table + "domains",
		VirtualMailboxMaps:    table + "mailboxes",
		VirtualTransport:      "lmtp:inet:" + d.ports.lmtp,
		ExtraMain: map[string]string{
			"virtual_alias_maps":     table + "aliases",
			"recipient_delimiter":    "+",
			"lmtp_line_length_limit": "0",
		},
	})
}

// stopPostfix keeps the mail log with the demo's data.
func (d *demo) stopPostfix() error {
	if d.postfix == nil {
		return nil
	}
	began := time.Now()
	d.postfix.Stop()
	err := d.dir.write("postfix.log", []byte(d.postfix.Log()))
	if err = errors.Join(err, d.postfix.Close()); err != nil {
		return fmt.Errorf("postfix: %w", err)
	}
	d.out.step("Postfix", "stopped after %s", seconds(began))
	return nil
}

// startRspamd starts a private rspamd where one is installed. Only the milter asks it.
func (d *demo) startRspamd(ctx context.Context) error {
	if d.lmtpOnly {
		return nil
	}
	// What lab keeps for the next start belongs to the demo's directory too.
	cache := d.dir.join("cache")
	if err := os.Setenv("XDG_CACHE_HOME", cache); err != nil {
		return fmt.Errorf("rspamd: %w", err)
	}
	if _, err := os.Stat(cache); errors.Is(err, fs.ErrNotExist) && found("rspamd") {
		d.out.step("rspamd", "starting; the first time it compiles its patterns, which takes about 10 s ...")
	}
	began := time.Now()
	r, err := lab.StartRspamd(ctx, lab.RspamdOptions{DNS: demoSenders})
	switch {
	case errors.Is(err, lab.ErrMissing):
		d.out.step("rspamd", "none: it is not installed (package rspamd). MaiRust's own rules refuse GTUBE instead.")
		return nil
	case err != nil && ctx.Err() == nil:
		d.out.step("rspamd", "none: it did not start: %v. MaiRust's own rules refuse GTUBE instead.", err)
		return nil
	case err != nil:
		return err
	}
	d.rspamd = r
	d.out.step("rspamd", "private, ready after %s: %s", seconds(began), r.Addr)
	return nil
}

// stopRspamd keeps its log with the demo's data.
func (d *demo) stopRspamd() error {
	if d.rspamd == nil {
		return nil
	}
	began := time.Now()
	d.rspamd.Stop()
	err := d.dir.write("rspamd.log", []byte(d.rspamd.Log()))
	if err = errors.Join(err, d.rspamd.Close()); err != nil {
		return fmt.Errorf("rspamd: %w", err)
	}
	d.out.step("rspamd", "stopped after %s", seconds(began))
	return nil
}

// installTime bounds each of the two commands of an installation.
const installTime = 10 * time.Minute

// installPostfix installs the package without starting its service. A Ctrl-C waits for the end, since a package that
// is half installed is worse than one that is.
func (d *demo) installPostfix(ctx context.Context) error {
	d.out.step("Postfix", "not installed: installing it now with apt-get (about a minute; nothing is started) ...")
	forgetPolicy, err := forbidServices()
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	// Lists that cannot be fetched may be there from before: the installation tells.
	updateErr := d.aptGet(ctx, "update", "-qq")
	err = d.aptGet(ctx, "install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0",
		"-o", "Dpkg::Options::=--force-confold", "-o", "Acquire::Retries=3", "postfix")
	if err != nil {
		err = errors.Join(updateErr, err)
	}
	if err = errors.Join(err, forgetPolicy()); err != nil {
		return err
	}
	d.out.step("", "Installed. The machine's own Postfix was not started; to remove it: apt-get purge postfix")
	return nil
}

func (d *demo) aptGet(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "apt-get", args...) // #nosec G204 -- from installPostfix alone
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	_, why, ok := strings.Cut("\n"+string(out), "\nE: ")
	if !ok {
		why = string(out)
	}
	return fmt.Errorf("apt-get %s: %w: %s", args[0], err, oneLine(why, 300))
}

// servicePolicy is asked by invoke-rc.d before a package starts its service.
const servicePolicy = "/usr/sbin/policy-rc.d"

// forbidServices keeps packages from starting their services until forget is called. A policy that is there stays.
func forbidServices() (forget func() error, err error) {
	f, err := os.OpenFile(servicePolicy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) // #nosec G302 -- a program
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	forget = func() error { return os.Remove(servicePolicy) }
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, forget())
	}
	return forget, nil
}

// userName is who runs this.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Geteuid())
}
