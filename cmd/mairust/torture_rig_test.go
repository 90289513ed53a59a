package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

// tortureRig is an installation that is going to be hurt.
type tortureRig struct {
	site   *testSite
	daemon *process
	ledger *ledger
	// server is the PostgreSQL that the rig has for itself, disk the file system; nil when it has none.
	server *lab.Postgres
	disk   *tortureDisk
	// bucket is where the objects are when they are in S3; else nil.
	bucket *bucketSite
	// operator decrypts what is stored; nil when nothing is encrypted.
	operator *age.X25519Identity
	// locals are the mailboxes.
	locals []string
	// startTook is how long the last start of the daemon took.
	startTook time.Duration
}

// tortureProgram is the binary to torture; empty means this test's own.
func tortureProgram() string { return os.Getenv("MAIRUST_TORTURE_BINARY") }

// newTortureRig makes an installation in a directory of its own. On PostgreSQL its database is in the cluster that
// tests share.
func newTortureRig(t testing.TB, backend string) *tortureRig {
	t.Helper()
	r := &tortureRig{}
	r.setUp(t, siteOptions{Backend: backend})
	return r
}

// newRigWithServer makes one that has a PostgreSQL for itself.
func newRigWithServer(t testing.TB) *tortureRig {
	t.Helper()
	r := &tortureRig{server: labtest.OwnPostgres(t, lab.PostgresOptions{})}
	r.setUp(t, siteOptions{Database: "backend: postgres, url: '" + r.server.URL() + "'"})
	return r
}

// tortureDiskBytes is enough for one round of a load.
const tortureDiskBytes = 512 << 20

// newRigOnDisk makes one whose objects, spool, keyring and database, with the server's files, are on a disk that can
// lose its power. The disk is not mounted until the first round.
func newRigOnDisk(t testing.TB, backend string) *tortureRig {
	t.Helper()
	o := siteOptions{Backend: backend, Dir: labtest.ShortDir(t)}
	r := &tortureRig{disk: newTortureDisk(t, filepath.Join(o.Dir, "data"), tortureDiskBytes)}
	if backend == sqldb.Postgres {
		r.server = labtest.OwnPostgres(t, lab.PostgresOptions{Dir: r.disk.dir})
		o.Database = "backend: postgres, url: '" + r.server.URL() + "'"
	}
	r.setUp(t, o)
	if r.server != nil {
		r.server.Stop(lab.StopFast)
	}
	r.disk.keep()
	return r
}

// postgresFile is a file of the server that the rig has for itself.
func (r *tortureRig) postgresFile(name string) string {
	return filepath.Join(r.server.Dir(), "data", name)
}

func (r *tortureRig) setUp(t testing.TB, o siteOptions) {
	t.Helper()
	o.Mailboxes, o.Program = tortureMailboxes, tortureProgram()
	r.operator = withEncryption(t, &o)
	r.locals, r.ledger = tortureMailboxes, newLedger()
	r.site = newTestSite(t, o)
	r.site.makeAppPasswords(t)
	t.Cleanup(func() {
		if r.daemon == nil {
			return
		}
		r.daemon.kill()
		if t.Failed() {
			t.Logf("daemon log, without requests:\n%s", r.daemon.tailWithout(60, `"component":"api"`))
		}
	})
}

// start starts the daemon and waits until it is ready.
func (r *tortureRig) start(t testing.TB) error {
	t.Helper()
	began := time.Now()
	r.daemon = r.site.launch(t)
	err := r.daemon.await()
	r.startTook = time.Since(began)
	return err
}

// ackPatience is far more than any number of acknowledgements takes that a round waits for.
const ackPatience = 5 * time.Minute

var errNoAcks = errors.New("the daemon acknowledges nothing")

// awaitAcks waits for so many more acknowledgements.
func (r *tortureRig) awaitAcks(t testing.TB, more int) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), ackPatience, errNoAcks)
	defer cancel()
	require.NoError(t, r.ledger.await(ctx, r.ledger.ackCount()+more), "%s", r.daemon.tail(20))
}

// moment lets up to a few milliseconds pass, which is where the rounds differ and nothing else.
func moment(random *rand.Rand, limit time.Duration) {
	time.Sleep(time.Duration(random.Int64N(int64(limit) + 1)))
}

// settle sends again what is in doubt until nothing is, as Postfix would. The daemon must take it all.
func (r *tortureRig) settle() error {
	var err error
	for range 10 {
		if err = r.sendDoubts(); err == nil && r.ledger.doubtCount() == 0 {
			return nil
		}
		time.Sleep(breather)
	}
	return fmt.Errorf("the daemon does not take mail: %d messages are still in doubt: %w", r.ledger.doubtCount(), cmp.Or(err, errRefused))
}

var errRefused = errors.New("it refuses them for now")

func (r *tortureRig) sendDoubts() error {
	c, err := dialLMTP(r.site)
	if err != nil {
		return err
	}
	defer c.Close()
	for range r.ledger.doubtCount() {
		p, _ := r.ledger.doubt()
		if err := c.deliver(r.ledger, p); err != nil {
			return err
		}
	}
	return nil
}

// inspect settles what is in doubt, and looks at everything. Errors are findings.
func (r *tortureRig) inspect() *inspection {
	err := r.settle()
	i := inspect(r)
	if err != nil {
		i.found(foundLost, "%v", err)
	}
	return i
}
