package postfix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Directory knows which domains and recipients are MaiRust's.
type Directory interface {
	// Domain says whether mail for the domain is delivered by MaiRust.
	Domain(ctx context.Context, domain string) (bool, error)
	// Mailbox says whether there is a mailbox for the address. ErrUncertain where that may be, although none is known.
	Mailbox(ctx context.Context, address string) (bool, error)
}

// ErrUncertain is what Directory gives for an address that is not known to a MaiRust that may not know all.
var ErrUncertain = errors.New("it is not certain who has no mailbox: MaiRust has none at all, or its database may be another or an old one")

// Lookup is the Directory that Postfix asks too: MaiRust's socketmap service (socketmap_table(5)).
type Lookup struct {
	// Address is "inet:HOST:PORT" or "unix:PATH".
	Address string
}

// Domain asks the map domains.
func (l Lookup) Domain(ctx context.Context, domain string) (bool, error) {
	_, found, err := l.ask(ctx, "domains "+domain)
	return found, err
}

// Mailbox asks the map mailboxes.
func (l Lookup) Mailbox(ctx context.Context, address string) (bool, error) {
	_, found, err := l.ask(ctx, "mailboxes "+address)
	return found, err
}

// Target finds the mailbox that takes mail for an address, by aliases and without detail. It is empty when nobody has the address, and
// also when the mailbox is full or suspended.
func (l Lookup) Target(ctx context.Context, address string) (mailbox string, found bool, err error) {
	return l.ask(ctx, "mailboxes "+address)
}

// What MaiRust says after TEMP, in the words of package lmtp/lookup.
const (
	tempFull      = "the mailbox is full"
	tempSuspended = "the tenant is suspended"
	tempUncertain = "the database may be another or an old one"
)

const (
	lookupTimeout = 10 * time.Second
	// maxReply bounds an answer; socketmap_table(5) has 100,000 bytes.
	maxReply = 100_000
)

func (l Lookup) ask(ctx context.Context, request string) (value string, found bool, err error) {
	reply, err := l.exchange(ctx, request)
	if err != nil {
		return "", false, fmt.Errorf("ask the recipient lookup at %s: %w", l.Address, err)
	}
	switch word, text, _ := strings.Cut(reply, " "); word {
	case "OK":
		return text, true, nil
	case "NOTFOUND":
		return "", false, nil
	case "TEMP":
		switch text {
		case tempFull, tempSuspended: // it exists
			return "", true, nil
		case tempUncertain:
			return "", false, ErrUncertain
		}
		return "", false, fmt.Errorf("ask the recipient lookup at %s: %s", l.Address, text)
	}
	return "", false, fmt.Errorf("ask the recipient lookup at %s: it answered %q", l.Address, reply)
}

func (l Lookup) exchange(ctx context.Context, request string) (string, error) {
	conn, err := Dial(ctx, l.Address, lookupTimeout)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // the answer is here, or there is an error already
	if _, err := fmt.Fprintf(conn, "%d:%s,", len(request), request); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	length, err := r.ReadString(':')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil || n < 0 || n > maxReply {
		return "", fmt.Errorf("no netstring: %q", length)
	}
	reply := make([]byte, n)
	_, err = io.ReadFull(r, reply)
	return string(reply), err
}

// Dial connects to an address in Postfix's spelling, "inet:HOST:PORT" or "unix:PATH". The whole conversation ends
// after timeout.
func Dial(ctx context.Context, address string, timeout time.Duration) (net.Conn, error) {
	network, rest, _ := strings.Cut(address, ":")
	if network != "unix" {
		network = "tcp"
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, network, rest)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, fmt.Errorf("%w (and close: %v)", err, conn.Close()) //nolint:errorlint // one cause is enough
	}
	return conn, nil
}
