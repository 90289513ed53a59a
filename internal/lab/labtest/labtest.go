// Package labtest starts the services of package lab for a test and closes them with it.
//
// A service that can't be had (the program is not installed, or root is needed) skips the test loudly; with
// CI=true in the environment it fails the test, so that nothing is left out unseen where it counts.
package labtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/mairust/mairust/internal/lab"
)

// need ends the test when err is not nil: by a skip for what is missing on this machine, else by a failure.
func need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case (errors.Is(err, lab.ErrMissing) || errors.Is(err, lab.ErrNotRoot)) && os.Getenv("CI") != "true":
		t.Skipf("SKIPPED: needs a service that is not here: %v (make install-services)", err)
	default:
		t.Fatal(err)
	}
}

// closeLater closes c at the end of the test.
func closeLater(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// ShortDir is a temporary directory for unix sockets: its path is short, and every user may pass through it.
// A socket in it needs mode 0777 for Postfix, whose daemons run as another user.
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "lt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- see above
		t.Fatal(err)
	}
	return dir
}

// Postfix starts a Postfix for this test. When the test fails, the mail log is shown.
func Postfix(t testing.TB, o lab.PostfixOptions) *lab.Postfix {
	t.Helper()
	p, err := lab.StartPostfix(t.Context(), o)
	need(t, err)
	closeLater(t, p)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mail log:\n%s", p.Log())
		}
	})
	return p
}

// LMTPSink starts an LMTP server that records; see lab.StartLMTPSink for addr.
func LMTPSink(t testing.TB, addr string) *lab.LMTPSink {
	t.Helper()
	s, err := lab.StartLMTPSink(addr)
	need(t, err)
	closeLater(t, s)
	return s
}

// Redis starts a Redis for this test.
func Redis(t testing.TB) *lab.Redis {
	t.Helper()
	r, err := lab.StartRedis(t.Context())
	need(t, err)
	closeLater(t, r)
	return r
}

// sharedRspamd, sharedPostgres and sharedMinIO live as long as the test process; lab's guards end them.
var (
	sharedRspamd = sync.OnceValues(func() (*lab.Rspamd, error) {
		return lab.StartRspamd(context.Background(), lab.RspamdOptions{})
	})
	sharedPostgres = sync.OnceValues(func() (*lab.Postgres, error) {
		return lab.StartPostgres(context.Background(), lab.PostgresOptions{})
	})
	sharedMinIO = sync.OnceValues(func() (*lab.MinIO, error) {
		return lab.StartMinIO(context.Background(), lab.MinIOOptions{})
	})
)

// Rspamd is the rspamd all tests of this process share; don't stop it. Its DNS knows no name.
func Rspamd(t testing.TB) *lab.Rspamd {
	t.Helper()
	r, err := sharedRspamd()
	need(t, err)
	return r
}

// OwnRspamd starts an rspamd for this test alone.
func OwnRspamd(t testing.TB, o lab.RspamdOptions) *lab.Rspamd {
	t.Helper()
	r, err := lab.StartRspamd(t.Context(), o)
	need(t, err)
	closeLater(t, r)
	return r
}

// Postgres is a fresh, empty database in the cluster all tests of this process share; don't stop it.
func Postgres(t testing.TB) *lab.Postgres {
	t.Helper()
	cluster, err := sharedPostgres()
	need(t, err)
	p, err := cluster.NewDatabase(t.Context(), "t"+strings.ReplaceAll(uuid.NewString(), "-", ""))
	need(t, err)
	t.Cleanup(func() {
		if err := p.Drop(context.Background()); err != nil {
			t.Errorf("drop: %v", err)
		}
	})
	return p
}

// OwnPostgres starts a cluster for this test alone, which may be stopped and started.
func OwnPostgres(t testing.TB, o lab.PostgresOptions) *lab.Postgres {
	t.Helper()
	p, err := lab.StartPostgres(t.Context(), o)
	need(t, err)
	closeLater(t, p)
	return p
}

// Dovecot starts a Dovecot for this test.
func Dovecot(t testing.TB, o lab.DovecotOptions) *lab.Dovecot {
	t.Helper()
	d, err := lab.StartDovecot(t.Context(), o)
	need(t, err)
	closeLater(t, d)
	return d
}

// Program is the path of a program that the test runs; what brings it is named by its Debian package.
func Program(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		need(t, &lab.MissingError{Program: name, Package: debianPackage})
	}
	return path
}

// MinIO is the S3 server all tests of this process share; don't stop it. Its bucket is for prefixes of each test's own.
func MinIO(t testing.TB) *lab.MinIO {
	t.Helper()
	m, err := sharedMinIO()
	need(t, err)
	return m
}

// OwnMinIO starts an S3 server for this test alone, which may be stopped and started.
func OwnMinIO(t testing.TB, o lab.MinIOOptions) *lab.MinIO {
	t.Helper()
	m, err := lab.StartMinIO(t.Context(), o)
	need(t, err)
	closeLater(t, m)
	return m
}

// FaultProxy starts a proxy before the server at host:port.
func FaultProxy(t testing.TB, to string) *lab.FaultProxy {
	t.Helper()
	p, err := lab.StartFaultProxy(to)
	need(t, err)
	closeLater(t, p)
	return p
}

// SMTPProxy starts a proxy before the SMTP server at host:port.
func SMTPProxy(t testing.TB, to string, f lab.SMTPFault) *lab.SMTPProxy {
	t.Helper()
	p, err := lab.StartSMTPProxy(to, f)
	need(t, err)
	closeLater(t, p)
	return p
}
