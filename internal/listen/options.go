// Package listen opens and guards the listeners of milter, LMTP, lookup, HTTP and IMAP alike:
// addresses, socket files, allow lists, TLS, connection caps, idle deadlines, draining.
package listen

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"time"
)

// Options describe one listener, as an entry of a `…listeners` list in the configuration.
type Options struct {
	// Address is "unix:PATH", "inet:HOST:PORT" (Postfix's spelling) or "inet6:HOST:PORT" (IPv6 only).
	// An IPv6 literal stands in brackets; port 0 takes a free one. Required.
	Address string `yaml:"address"`
	// Role is known to the milter only: auto (default), inbound, submission or local.
	Role string `yaml:"role,omitempty"`
	// SocketMode is the octal mode of a unix socket, as a string; default "0660".
	SocketMode string `yaml:"socket_mode,omitempty"`
	// SocketGroup (name or number) owns a unix socket; default: the process's group.
	SocketGroup string `yaml:"socket_group,omitempty"`
	// Allow lists the CIDRs or addresses that may connect over inet; anything but loopback needs it or TLS.
	Allow []string `yaml:"allow,omitempty"`
	// TLS is none (default), starttls (for a protocol that has it) or implicit; Cert and Key are PEM files, read again when they change.
	TLS  string `yaml:"tls,omitempty"`
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

// The values of Options.TLS.
const (
	TLSNone     = "none"
	TLSStartTLS = "starttls"
	TLSImplicit = "implicit"
)

// Limits bound what strangers can take. Zero values mean the defaults.
type Limits struct {
	// MaxConnections at once on one listener; default 1000. One more waits in the backlog, or is told Refusal.
	MaxConnections int
	// MaxPerClient at once from one IPv4 address or IPv6 /64 (inet only); default 200. One more is closed at once.
	MaxPerClient int
	// Idle ends a read when nothing came and nothing was written for so long, and a write when the
	// client took nothing for so long; default 10 minutes.
	Idle time.Duration
	// Refusal is said in clear to a client over a cap before its connection is closed, in the words of the protocol,
	// with their line end. Empty means silence, and so does implicit TLS, behind which nobody would understand it.
	Refusal string
}

func (l Limits) withDefaults() Limits {
	return Limits{
		MaxConnections: cmp.Or(max(l.MaxConnections, 0), 1000),
		MaxPerClient:   cmp.Or(max(l.MaxPerClient, 0), 200),
		Idle:           cmp.Or(max(l.Idle, 0), 10*time.Minute),
		Refusal:        l.Refusal,
	}
}

// Validate checks o as far as that goes without opening anything but the TLS files. The error says what
// to write instead.
func (o Options) Validate() error {
	_, err := o.plan()
	return err
}

// plan is Options, understood.
type plan struct {
	address address
	mode    fs.FileMode
	gid     int // -1: leave it
	allow   []netip.Prefix
	certs   *certificates // nil without TLS
}

func (o Options) plan() (p plan, err error) {
	if p.address, err = parseAddress(o.Address); err != nil {
		return p, err
	}
	if p.mode, p.gid, err = o.socket(p.address.isUnix()); err != nil {
		return p, fmt.Errorf("listener %s: %w", o.Address, err)
	}
	if p.allow, err = o.prefixes(p.address.isUnix()); err != nil {
		return p, fmt.Errorf("listener %s: allow: %w", o.Address, err)
	}
	if p.certs, err = o.certificates(); err != nil {
		return p, fmt.Errorf("listener %s: %w", o.Address, err)
	}
	if !p.address.isUnix() && !p.address.isLoopback() && len(p.allow) == 0 && p.certs == nil {
		return p, fmt.Errorf("listener %s: this is reachable from other hosts: list who may connect in `allow`, set `tls`, or use 127.0.0.1", o.Address)
	}
	return p, nil
}

func (o Options) socket(isUnix bool) (mode fs.FileMode, gid int, err error) {
	if !isUnix {
		if o.SocketMode != "" || o.SocketGroup != "" {
			return 0, -1, errors.New("socket_mode and socket_group are for unix sockets")
		}
		return 0, -1, nil
	}
	bits, err := strconv.ParseUint(cmp.Or(o.SocketMode, "0660"), 8, 32)
	if err != nil || bits > 0o777 {
		return 0, -1, fmt.Errorf("socket_mode %q: write it in octal, like \"0660\"", o.SocketMode)
	}
	gid, err = lookupGroup(o.SocketGroup)
	return fs.FileMode(bits), gid, err
}

func (o Options) certificates() (*certificates, error) {
	switch o.TLS {
	case "", TLSNone:
		if o.Cert != "" || o.Key != "" {
			return nil, errors.New("cert and key are given, but tls is not: set it to starttls or implicit")
		}
		return nil, nil
	case TLSStartTLS, TLSImplicit:
		if o.Cert == "" || o.Key == "" {
			return nil, fmt.Errorf("tls %s needs cert and key, two PEM files", o.TLS)
		}
		return loadCertificates(o.Cert, o.Key)
	}
	return nil, fmt.Errorf("tls %q: use none, starttls or implicit", o.TLS)
}
