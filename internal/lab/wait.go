package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// pollEvery is the pause between two looks at something another process does.
const pollEvery = 20 * time.Millisecond

// Ports are taken from below Linux's ephemeral range (32768…), so that no client connection can sit on the
// port of a service that is stopped and shall come back on it.
const (
	firstPort = 15000
	portCount = 17000
)

// freePort returns a port of 127.0.0.1 that nothing listens on now.
func freePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(portCount)
		l, err := net.Listen("tcp4", loopback(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("free port: %w", err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1")
}

// loopback is the address of port on 127.0.0.1.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Eventually calls probe until it returns nil or ctx is done; then the error is probe's last one.
// A ctx without a deadline is given one of a minute.
func Eventually(ctx context.Context, probe func(ctx context.Context) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Minute)
		defer cancel()
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting: %w", err)
		case <-tick.C:
		}
	}
}
