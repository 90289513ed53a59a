package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Redis is a private Redis server without persistence and without a password.
type Redis struct {
	// Addr is host:port on loopback.
	Addr string

	inst    *instance
	program string
}

// StartRedis starts a Redis server. Errors: ErrMissing (package redis-server).
func StartRedis(ctx context.Context) (*Redis, error) {
	program, err := findProgram("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	as, err := serviceAccount("redis", "nobody")
	if err != nil {
		return nil, err
	}
	var r *Redis
	err = retry(ctx, "redis", func(ctx context.Context) error {
		port, err := freePort()
		if err != nil {
			return err
		}
		inst, err := newInstance("", "rd", "KILL", as)
		if err != nil {
			return err
		}
		r = &Redis{Addr: loopback(port), inst: inst, program: program}
		if err := as.own(inst.dir); err != nil {
			return closeAfter(err, r)
		}
		return closeAfter(r.Start(ctx), r)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Dir is the instance's directory.
func (r *Redis) Dir() string { return r.inst.dir }

// URL is for go-redis's ParseURL.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }

// Start brings a stopped server back on the same port, empty.
func (r *Redis) Start(ctx context.Context) error {
	_, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return r.inst.run(ctx, r.ping, r.program, "--port", port, "--bind", "127.0.0.1", "--dir", r.inst.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--databases", strconv.Itoa(16))
}

// Stop takes the server away at once; its data is lost. Clients see their connections closed.
func (r *Redis) Stop() { r.inst.stop(syscall.SIGKILL) }

// Close stops the server and removes what it left.
func (r *Redis) Close() error { return r.inst.close(syscall.SIGKILL) }

// ping speaks just enough of RESP to know that it is Redis that answers.
func (r *Redis) ping(ctx context.Context) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // a probe
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	buf := make([]byte, 16)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(buf[:n]), "+PONG") {
		return fmt.Errorf("ping: %q", buf[:n])
	}
	return nil
}

// closeAfter closes c when err is not nil; it returns err, joined with Close's. For the paths of a start that did not succeed.
func closeAfter(err error, c interface{ Close() error }) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, c.Close())
}
