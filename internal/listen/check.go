package listen

import (
	"fmt"
	"os"
	"strings"
)

// Check says why clients may not get in just now: the connections that l may have are all in use, accepting fails,
// or somebody has removed the socket's file. It may be called at any time.
func (l *Listener) Check() error {
	if failed := l.failed.Load(); failed != nil {
		return fmt.Errorf("accept on %s: %w", l.Addr(), *failed)
	}
	if path := l.Addr().String(); l.Addr().Network() == "unix" && strings.HasPrefix(path, "/") {
		if _, err := os.Lstat(path); err != nil {
			return fmt.Errorf("the socket %s is gone: %w", path, err)
		}
	}
	l.mu.Lock()
	open := len(l.conns)
	l.mu.Unlock()
	if open >= l.limits.MaxConnections {
		return fmt.Errorf("all %d connections of %s are in use", l.limits.MaxConnections, l.Addr())
	}
	return nil
}
