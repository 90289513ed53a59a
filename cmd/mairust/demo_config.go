package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/policy/rule"
)

// demoPorts are the addresses (host:port) of the daemon, held until it takes them itself.
type demoPorts struct {
	milter, localMilter, lmtp, lookup, http, imap, ops string

	held []net.Listener
}

// demoPortTries is how many ports are tried upwards from a default one.
const demoPortTries = 100

// takePorts takes the default ports, or free ones above them where others sit.
func (d *demo) takePorts(ctx context.Context) error {
	c := config.Default()
	d.ports = &demoPorts{}
	for _, want := range []struct {
		name      string
		address   *string
		listeners []listen.Options
	}{
		{"milter", &d.ports.milter, c.Milter.Listeners},
		{"LMTP", &d.ports.lmtp, c.LMTP.Listeners},
		{"lookup", &d.ports.lookup, c.Lookup.Listeners},
		{"HTTP", &d.ports.http, c.HTTP.Listeners},
		{"IMAP", &d.ports.imap, c.IMAP.Listeners},
		{"metrics", &d.ports.ops, c.Ops.Listeners},
		{"milter for sendmail", &d.ports.localMilter, c.Milter.Listeners},
	} {
		first, err := inetPort(want.listeners)
		if err != nil {
			return fmt.Errorf("%s: %w", want.name, err)
		}
		got, err := d.ports.take(ctx, first)
		if err != nil {
			return fmt.Errorf("%s: %w", want.name, err)
		}
		*want.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(got))
		// A second milter listener is not among the defaults; it never has the port of the first.
		if got != first && want.address != &d.ports.localMilter {
			d.out.step("port", "%d is taken, so %s is on %d", first, want.name, got)
		}
	}
	return nil
}

// inetPort is the port of the default listener on loopback.
func inetPort(listeners []listen.Options) (int, error) {
	for _, l := range listeners {
		address, ok := strings.CutPrefix(l.Address, "inet:")
		if !ok {
			continue
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(port)
	}
	return 0, errors.New("no default listener on loopback")
}

// take holds the first free port from first upwards.
func (p *demoPorts) take(ctx context.Context, first int) (int, error) {
	var err error
	for port := first; port < first+demoPortTries; port++ {
		var l net.Listener
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			p.held = append(p.held, l)
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d: %w", first, first+demoPortTries-1, err)
}

// release lets the daemon have the ports. It may be called twice.
func (p *demoPorts) release() {
	for _, l := range p.held {
		_ = l.Close() // nothing was ever accepted
	}
	p.held = nil
}

// maxRunDir leaves room for the names of sockets: a socket's path ends at 107 bytes.
const maxRunDir = 80

// makeRunDir puts the admin socket below the demo's directory, or below /tmp when that has too long a path.
func (d *demo) makeRunDir() error {
	if d.runDir = d.dir.join("run"); len(d.runDir) <= maxRunDir {
		return nil
	}
	var err error
	if d.runDir, err = os.MkdirTemp("/tmp", "mairust-demo-"); err != nil {
		return fmt.Errorf("make run_dir: %w", err)
	}
	d.out.step("run_dir", "%s, because the path of the demo is too long for sockets", d.runDir)
	return nil
}

// removeRunDir removes what makeRunDir made elsewhere.
func (d *demo) removeRunDir() error {
	if d.runDir == "" || d.runDir == d.dir.join("run") {
		return nil
	}
	return os.RemoveAll(d.runDir)
}

// writeConfig writes the configuration anew, because ports and rspamd may differ from the last time.
func (d *demo) writeConfig(context.Context) error {
	if err := d.makeRunDir(); err != nil {
		return err
	}
	rules, err := d.rules()
	if err != nil {
		return err
	}
	rspamd := ""
	if d.rspamd != nil {
		// Its greylisting module needs a Redis, which the demo has not.
		rspamd = fmt.Sprintf("  rspamd: {url: %q, greylist: allow}\n", d.rspamd.URL())
	}
	p := d.ports
	text := fmt.Sprintf(`# Written by each start of "mairust demo". Copy it to try changes: mairust run --config COPY
data_dir: %q
run_dir: %q
milter:
  listeners:
    - {address: "inet:%s"}
    - {address: "inet:%s", role: local} # for mail of the sendmail command
%s  rules:
%s
lmtp:
  listeners: [{address: "inet:%s"}]
lookup:
  listeners: [{address: "inet:%s"}]
http:
  listeners: [{address: "inet:%s"}]
  public_url: "http://%s"
imap:
  listeners: [{address: "inet:%s"}]
ops:
  listeners: [{address: "inet:%s"}]
log: {format: text}
shutdown: {timeout_seconds: 5, drain_timeout_seconds: 5}
`, d.dir.join("data"), d.runDir, p.milter, p.localMilter, rspamd, rules, p.lmtp, p.lookup, p.http, p.http, p.imap, p.ops)
	if err := d.dir.write(demoConfig, []byte(text)); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// rules are the site's own ones: spam that is tagged, programs that are set aside, and GTUBE where no rspamd
// knows it.
func (d *demo) rules() (string, error) {
	rules := []rule.Options{{
		Name:       "lottery",
		Conditions: rule.Conditions{Header: []rule.HeaderCondition{{Name: "Subject", Matches: `lottery|jackpot|宝くじ`}}},
		Tags:       []string{"spam"},
		Score:      8,
	}, {
		Name:       "programs",
		Conditions: rule.Conditions{AttachmentNameMatches: `\.(exe|scr|bat|vbs|js)$`},
		Action:     "quarantine",
		Tags:       []string{"program"},
	}}
	if d.rspamd == nil {
		rules = append(rules, rule.GTUBERule())
	}
	text, err := yaml.Marshal(rules)
	if err != nil {
		return "", fmt.Errorf("write rules: %w", err)
	}
	return "    " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    "), nil
}
