// Package bounce learns from Postfix's log which recipients of outgoing mail do not exist, for the outbound engine.
//
// A Follower reads the log, a file with its rotations or the systemd journal, and gives what bounced to a Sink: the
// Intake of this installation, or on another host an HTTP client that ships it here. An Applier finds the account of
// each bounce by host, queue id and day, and tells the engine. Every step may be repeated without counting twice.
package bounce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options are the section `outbound.bounces` of the configuration. Zero values mean the defaults; with neither File nor
// Journal the log of this host is not read.
type Options struct {
	// File is the log file of the Postfix beside this process, as syslog or Postfix itself (maillog_file) writes it.
	File string `yaml:"file"`
	// Journal reads the systemd journal instead.
	Journal bool `yaml:"journal"`
	// Journalctl is the program that reads it; default "journalctl".
	Journalctl string `yaml:"journalctl"`
	// Host is myhostname of the Postfix whose log it is, as the milter sees it in {j}; the caller finds out when it is
	// empty.
	Host string `yaml:"host"`
	// LogHost takes only lines of this host, as syslog writes its name; empty takes all. For a file that collects the
	// logs of several hosts.
	LogHost string `yaml:"log_host"`
	// StaleAfter is how long nothing may come from a feed before its host counts as one without; default 5 minutes.
	StaleAfter time.Duration `yaml:"stale_after"`
}

// WithDefaults is o with the defaults filled in.
func (o Options) WithDefaults() Options {
	if o.Journalctl == "" {
		o.Journalctl = "journalctl"
	}
	if o.StaleAfter <= 0 {
		o.StaleAfter = 5 * time.Minute
	}
	return o
}

// Enabled says whether there is a log to read.
func (o Options) Enabled() bool { return o.File != "" || o.Journal }

// Validate says what contradicts itself.
func (o Options) Validate() error {
	if o.File != "" && o.Journal {
		return errors.New("file and journal are alternatives: leave one out")
	}
	if strings.ContainsAny(o.Host+o.LogHost, " \t\r\n") {
		return errors.New("host and log_host want the name of a host")
	}
	return nil
}

// Bounce is a recipient that a delivery agent of Postfix has given up, because there is no such address.
type Bounce struct {
	// At is when, from the log.
	At time.Time
	// QueueID is Postfix's, long or short.
	QueueID string
	// Rcpt is the recipient as the log has it. It is hashed before it is stored.
	Rcpt string
	// DSN is the enhanced status code, 5.1.x.
	DSN string
}

// Bounds on what a feed may send at once, and on the parts of a Bounce.
const (
	MaxBatch   = 200
	MaxRcpt    = 1024
	MaxHost    = 255
	maxQueueID = 64
)

// Validate refuses what no log of Postfix says. Hosts that ship bounces are trusted to report, not to write into our
// tables what they like.
func (b Bounce) Validate() error {
	switch {
	case !isQueueID(b.QueueID):
		return errors.New("no queue id of Postfix")
	case b.Rcpt == "" || len(b.Rcpt) > MaxRcpt:
		return fmt.Errorf("the recipient wants 1 to %d bytes", MaxRcpt)
	case !noSuchAddress(b.DSN):
		return errors.New("the status code is not one of 5.1.x that speak of a recipient")
	case b.At.IsZero():
		return errors.New("the time is missing")
	}
	return nil
}

// noSuchAddress says whether an enhanced status code speaks of the recipient's address (RFC 3463, 3.2). 5.1.7 and
// 5.1.8 are about the sender's: a domain that is set up badly is no sign of a stolen account.
func noSuchAddress(dsn string) bool {
	return isDSN(dsn) && strings.HasPrefix(dsn, "5.1.") && dsn != "5.1.7" && dsn != "5.1.8"
}

// Report is what a feed tells at once: what bounced, and how it is.
type Report struct {
	// Host is myhostname of the Postfix.
	Host    string
	Bounces []Bounce
	// LastLine is when the newest line was written that the feed has read, zero for none. LagBytes is how much of the
	// log waits to be read, LagSeconds since when.
	LastLine   time.Time
	LagBytes   int64
	LagSeconds float64
	// Gaps counts how often lines were gone before they could be read, since the feed began.
	Gaps int64
}

// Sink takes what a feed tells. A report without bounces says that the feed is alive. An error that is not ErrRefused
// is temporary: the same report comes again, and what it has in common with an earlier one counts once.
type Sink interface {
	Report(ctx context.Context, r Report) error
}

// ErrRefused wraps the error of a Sink that will never take this report. The Follower counts it and goes on.
var ErrRefused = errors.New("refused")
