package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/listen"
)

// service is one of the lists of listeners.
type service struct {
	key       string
	listeners []listen.Options
}

func (c *Config) services() []service {
	return []service{
		{"milter.listeners", c.Milter.Listeners},
		{"lmtp.listeners", c.LMTP.Listeners},
		{"lookup.listeners", c.Lookup.Listeners},
		{"http.listeners", c.HTTP.Listeners},
		{"imap.listeners", c.IMAP.Listeners},
		{"ops.listeners", c.Ops.Listeners},
	}
}

// listeners checks each listener by itself, and that no two want the same address.
func (ck *checker) listeners(c *Config) {
	taken := []endpoint{{"the admin socket", "unix", filepath.Clean(c.AdminSocket()), ""}}
	for _, s := range c.services() {
		for i, o := range s.listeners {
			key := fmt.Sprintf("%s[%d]", s.key, i)
			ck.listener(key, s.key, o)
			e := newEndpoint(key, o.Address)
			for _, other := range taken {
				if e.clashes(other) {
					ck.report(key+".address", "%s is taken by %s", clip(o.Address), other.key)
				}
			}
			taken = append(taken, e)
		}
	}
}

func (ck *checker) listener(key, list string, o listen.Options) {
	if o.Role != "" && list != "milter.listeners" {
		ck.report(key+".role", "only milter.listeners have roles; remove it")
	}
	if !ck.src.Has(list) && ck.findings.covers("run_dir") {
		return // its path follows from run_dir, which is told
	}
	ck.protection(key, list, o)
	if err := o.Validate(); err != nil {
		ck.report(key, "%s", err)
	}
}

// protection holds a listener to what its protocol can do (docs/adr/0008-listeners.md): STARTTLS where the protocol
// has it, and an allow list where nobody logs in, because TLS hides what is said but keeps nobody out.
func (ck *checker) protection(key, list string, o listen.Options) {
	if o.TLS == listen.TLSStartTLS && !slices.Contains([]string{"lmtp.listeners", "imap.listeners"}, list) {
		ck.report(key+".tls", "only lmtp.listeners and imap.listeners have STARTTLS; use `implicit`")
	}
	login := slices.Contains([]string{"http.listeners", "imap.listeners"}, list)
	if !login && exposed(o.Address) && len(o.Allow) == 0 {
		ck.report(key, "%s is reachable from other hosts and asks for no login: list who may connect in `allow` (TLS keeps nobody out), or use 127.0.0.1", clip(o.Address))
	}
}

// exposed tells whether other hosts can connect. It is false for what is no address, which is told elsewhere.
func exposed(address string) bool {
	e := newEndpoint("", address)
	return strings.HasPrefix(e.network, "inet") && e.host != "" && !loopback(e.host)
}

// endpoint is a listener's address in a form that can be compared.
type endpoint struct{ key, network, host, port string }

func newEndpoint(key, address string) endpoint {
	network, rest, _ := strings.Cut(address, ":")
	if network == "unix" {
		return endpoint{key, network, filepath.Clean(rest), ""}
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return endpoint{key: key}
	}
	return endpoint{key, network, host, port}
}

// clashes reports whether both cannot be bound at once. Port 0 is a new port each time.
func (e endpoint) clashes(o endpoint) bool {
	if e.network == "" || e.network != o.network || e.port != o.port || e.port == "0" {
		return false
	}
	return e.host == o.host || e.network == "inet" && (wildcard(e.host) || wildcard(o.host))
}

func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
