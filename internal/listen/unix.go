package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// openUnix listens on a socket file with its mode and group, replacing one that a dead process left.
func openUnix(ctx context.Context, p plan) (net.Listener, error) {
	path := p.address.path
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // Postfix must get at the socket; its own mode guards it
		return nil, err
	}
	unlock, err := lockDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := own(path, p); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return newUnixListener(ln, path)
}

func own(path string, p plan) error {
	if p.gid >= 0 {
		if err := os.Lchown(path, -1, p.gid); err != nil {
			return fmt.Errorf("socket_group: %w", err)
		}
	}
	return os.Chmod(path, p.mode)
}

// removeStale removes a socket file that nobody answers on, and nothing else.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of that name which is not a socket")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return errors.New("in use by another process")
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, context.DeadlineExceeded): // its backlog is full
		return errors.New("in use by another process")
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("is it in use: %w", err)
}

// lockPatience is much more than another process needs to open its socket. Whoever may read the directory can hold
// the lock, so nobody is waited for for ever.
const lockPatience = 5 * time.Second

// lockDir keeps two processes that start at once from removing each other's socket.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience,
		fmt.Errorf("another process has held the lock for %s: see fuser %s", lockPatience, dir))
	defer cancel()
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = d.Close() }, nil // closing releases the lock
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), d.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, context.Cause(ctx)), d.Close())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unixListener removes its socket file when closed, unless another process has put its own there.
type unixListener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

func newUnixListener(ln net.Listener, path string) (net.Listener, error) {
	u, ok := ln.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected listener %T", ln), ln.Close())
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	u.SetUnlinkOnClose(false)
	return &unixListener{UnixListener: u, path: path, made: made}, nil
}

// Close stops listening and removes the socket file.
func (u *unixListener) Close() error {
	info, err := os.Lstat(u.path)
	if err == nil && os.SameFile(info, u.made) {
		err = os.Remove(u.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(u.UnixListener.Close(), err)
}

// PeerUID gives the user id of the process at the other end of a unix socket (SO_PEERCRED, unix(7)), also
// through wrappers that have a NetConn method. The bool is false for any other connection.
func PeerUID(c net.Conn) (int, bool) {
	for {
		if u, ok := c.(*net.UnixConn); ok {
			return peerUID(u)
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return 0, false
		}
		c = inner.NetConn()
	}
}

func peerUID(u *net.UnixConn) (int, bool) {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
