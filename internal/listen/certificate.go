package listen

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates is a key pair that follows its files: they are looked at on each handshake, so that a
// renewal needs neither restart nor signal.
type certificates struct {
	certFile, keyFile string
	log               *slog.Logger

	mu    sync.Mutex
	pair  *tls.Certificate
	tried [2]time.Time // modification times at the last attempt to load
}

func loadCertificates(certFile, keyFile string) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile}
	times, err := c.times()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: cert %s, key %s: %w", certFile, keyFile, err)
	}
	c.pair, c.tried = &pair, times
	return c, nil
}

// get is tls.Config.GetCertificate. Files that cannot be read leave the old pair in use.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times, err := c.times()
	if err != nil || times == c.tried {
		return c.pair, nil
	}
	c.tried = times
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil { // perhaps half replaced; the next change is another attempt
		c.log.Warn("TLS certificate not reloaded", "file", c.certFile, "err", err)
		return c.pair, nil
	}
	c.log.Info("TLS certificate reloaded", "file", c.certFile)
	c.pair = &pair
	return c.pair, nil
}

func (c *certificates) times() (t [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return t, err
		}
		t[i] = info.ModTime()
	}
	return t, nil
}

func (c *certificates) config(nextProtos []string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: nextProtos}
}
