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
	if err := clearPolicy(servicePolicy, d.out); err != nil {
		return err
	}
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

// userName is who runs this.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Geteuid())
}
