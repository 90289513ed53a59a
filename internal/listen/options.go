// Package listen opens and guards the listeners of milter, LMTP, lookup, HTTP and IMAP alike:
// addresses, socket files, allow lists, TLS, connection caps, idle deadlines, draining.
package listen

import "time"

// Options describe one listener, as an entry of a `…listeners` list in the configuration.
type Options struct {
	// Address is "unix:PATH" or "inet:HOST:PORT" (Postfix's spelling). Required.
	Address string `yaml:"address"`
	// Role is known to the milter only: auto (default), inbound, submission or local.
	Role string `yaml:"role,omitempty"`
	// SocketMode is the octal mode of a unix socket, as a string; default "0660".
	SocketMode string `yaml:"socket_mode,omitempty"`
	// SocketGroup owns a unix socket; default: the process's group.
	SocketGroup string `yaml:"socket_group,omitempty"`
	// Allow lists the CIDRs that may connect over inet; anything but loopback needs it or TLS.
	Allow []string `yaml:"allow,omitempty"`
	// TLS is none (default), starttls or implicit; Cert and Key are PEM files.
	TLS  string `yaml:"tls,omitempty"`
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

// Limits bound what strangers can take. Zero values mean the defaults.
type Limits struct {
	// MaxConnections at once on one listener; default 1000. One more waits in the backlog.
	MaxConnections int
	// MaxPerClient at once from one address (inet only); default 200. One more is closed at once.
	MaxPerClient int
	// Idle closes a connection that neither sends nor takes a byte; default 10 minutes.
	Idle time.Duration
}
