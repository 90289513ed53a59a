package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/sqldb"
)

// torturePower cuts the power, each time on a fresh file system: under load, and right after a single acknowledgement,
// which shows best what was not flushed, because nobody else's flushes help. Then builds that leave a flush out must
// lose mail, or else the rounds before have shown nothing.
func torturePower(t *testing.T, report *tortureReport, backend string) {
	r := newRigOnDisk(t, backend)
	report.cuts(t, r, "power cut under load", backend, tortureRounds(t, "CUT", 3, 200), cutUnderLoad)
	report.cuts(t, r, "power cut right after one acknowledgement", backend, tortureRounds(t, "CUT_ONE", 3, 50), cutAfterOne)
	if os.Getenv(tortureEncryption) == "" {
		t.Run("encrypted", func(t *testing.T) { tortureEncryptedPower(t, report, backend) })
	}
	if t.Failed() {
		return
	}
	for _, m := range mutants[backend] {
		if m.long && os.Getenv("MAIRUST_TORTURE") == "" {
			continue
		}
		t.Run("mutant/"+m.name, func(t *testing.T) { report.mutants = append(report.mutants, loseWith(t, r, report.seed, backend, m)) })
	}
}

// tortureEncryptedPower cuts the power where objects are encrypted: they, their keys beside them and those in the database
// must all be there. Short runs have no time for it.
func tortureEncryptedPower(t *testing.T, report *tortureReport, backend string) {
	underLoad, afterOne := tortureRounds(t, "CUT_ENCRYPTED", 0, 60), tortureRounds(t, "CUT_ONE_ENCRYPTED", 0, 20)
	if underLoad+afterOne == 0 {
		t.Skip("SKIPPED: part of make torture")
	}
	t.Setenv(tortureEncryption, "1")
	r := newRigOnDisk(t, backend)
	report.cuts(t, r, "encrypted: power cut under load", backend, underLoad, cutUnderLoad)
	report.cuts(t, r, "encrypted: power cut right after one acknowledgement", backend, afterOne, cutAfterOne)
}

// cutRound has mail acknowledged and returns at the moment at which the power shall go.
type cutRound func(t *testing.T, r *tortureRig, random *rand.Rand) (stop func())

// cuts runs rounds of one kind.
func (report *tortureReport) cuts(t *testing.T, r *tortureRig, what, backend string, rounds int, round cutRound) {
	t.Helper()
	line := &tally{what: what, backend: backend}
	report.lines = append(report.lines, line)
	began := time.Now()
	defer func() { line.took = time.Since(began) }()
	for n := 0; n < rounds && !t.Failed(); n++ {
		r.freshDisk(t)
		random := rand.New(rand.NewPCG(report.seed, uint64(n)))
		r.cut(t, random, round)
		line.cutAcks += r.ledger.ackCount()
		if random.IntN(4) == 0 {
			r.cutAgain(t, random)
		}
		require.NoError(t, r.comeBack(t))
		line.inspectSwept(t, r, random, 1)
		report.progress(t, n, rounds)
	}
	r.down()
}

// freshDisk puts a new installation in the place of the old one.
func (r *tortureRig) freshDisk(t *testing.T) {
	t.Helper()
	r.down()
	r.disk.fresh()
	r.ledger, r.locals = newLedger(), tortureMailboxes
}

// down ends everything that has files open.
func (r *tortureRig) down() {
	if r.daemon != nil {
		r.daemon.kill()
	}
	if r.server != nil {
		r.server.Stop(lab.StopImmediate)
	}
}

// cut starts everything, lets a round acknowledge some mail, and takes the power away.
func (r *tortureRig) cut(t *testing.T, random *rand.Rand, round cutRound) {
	t.Helper()
	require.NoError(t, r.startServer(t))
	require.NoError(t, r.start(t))
	stop := round(t, r, random)
	r.ledger.freeze()
	r.disk.cut()
	r.down()
	stop()
	r.disk.restore()
}

// cutAgain takes the power away while the daemon mends what the first cut left.
func (r *tortureRig) cutAgain(t *testing.T, random *rand.Rand) {
	t.Helper()
	require.NoError(t, r.startServer(t))
	r.daemon = r.site.launch(t)
	moment(random, r.startTook)
	r.disk.cut()
	r.down()
	r.disk.restore()
}

// comeBack starts everything again.
func (r *tortureRig) comeBack(t *testing.T) error {
	t.Helper()
	r.ledger.thaw()
	if err := r.startServer(t); err != nil {
		return err
	}
	return r.start(t)
}

// startServer starts the database server, when there is one.
func (r *tortureRig) startServer(t *testing.T) error {
	t.Helper()
	if r.server == nil {
		return nil
	}
	// The process ids in its lock files are another program's by now, perhaps, as after a start of the machine; what
	// starts PostgreSQL there removes them too.
	locks, err := filepath.Glob(filepath.Join(r.server.Dir(), ".s.PGSQL.*"))
	for _, lock := range append(locks, r.postgresFile("postmaster.pid")) {
		err = errors.Join(err, os.RemoveAll(lock))
	}
	if err != nil {
		return err
	}
	return r.server.Start(t.Context())
}

// cutUnderLoad goes on until some mail has been acknowledged: a little, or, when all of it is small, up to a thousand.
func cutUnderLoad(t *testing.T, r *tortureRig, random *rand.Rand) (stop func()) {
	t.Helper()
	clients, most := mixedLoad, 9
	if random.IntN(2) == 0 {
		clients, most = smallLoad, 11
	}
	load := startLoad(t.Context(), r.site, r.ledger, clients, "cut", random.Uint64())
	r.awaitAcks(t, 1<<random.IntN(most))
	moment(random, 3*time.Millisecond)
	return load.stop
}

// cutAfterOne sends a single message: half the time the first of its mailboxes, of which one may have been made a moment ago;
// else one for a folder that is known, whose row may be written while its object is stored.
func cutAfterOne(t *testing.T, r *tortureRig, random *rand.Rand) (stop func()) {
	t.Helper()
	p := newParcel(random, "only", []weight{light, light, medium, heavy}[random.IntN(4)])
	if random.IntN(5) == 0 {
		r.addMailbox(t, "fresh")
		p.rcpts = []string{"fresh@example.test"}
	}
	if random.IntN(2) == 0 {
		r.sendOne(t, parcel{id: "before", rcpts: p.rcpts})()
	}
	stop = r.sendOne(t, p)
	if random.IntN(8) == 0 {
		r.awaitCheckpoint(t)
	}
	return stop
}

// cutAfterBig sends a message with which the journal of the object store has nothing to do.
func cutAfterBig(t *testing.T, r *tortureRig, random *rand.Rand) (stop func()) {
	t.Helper()
	p := newParcel(random, "only", heavy)
	p.bodyBytes += 1 << 20
	return r.sendOne(t, p)
}

// cutAfterSmall sends one that goes through the journal, which has it still.
func cutAfterSmall(t *testing.T, r *tortureRig, random *rand.Rand) (stop func()) {
	t.Helper()
	return r.sendOne(t, newParcel(random, "only", light))
}

// cutAfterCheckpoint sends one that the journal has forgotten already.
func cutAfterCheckpoint(t *testing.T, r *tortureRig, random *rand.Rand) (stop func()) {
	t.Helper()
	stop = cutAfterSmall(t, r, random)
	r.awaitCheckpoint(t)
	return stop
}

// sendOne sends a message that must be acknowledged.
func (r *tortureRig) sendOne(t *testing.T, p parcel) (stop func()) {
	t.Helper()
	c, err := dialLMTP(r.site)
	require.NoError(t, err)
	require.NoError(t, c.deliver(r.ledger, p))
	require.True(t, r.ledger.isAcked(p.id))
	return func() { _ = c.Close() } // its server is dead
}

// awaitCheckpoint waits until the journal of the object store has flushed what it held. Big messages are not in it, and
// are followed by a small one.
func (r *tortureRig) awaitCheckpoint(t *testing.T) {
	t.Helper()
	r.sendOne(t, parcel{id: "journaled", rcpts: []string{"u0@example.test"}})()
	require.Eventually(t, func() bool {
		resp, err := http.Get(r.daemon.ops + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && aCheckpoint.Match(text)
	}, ackPatience, 20*time.Millisecond, "no checkpoint")
}

var aCheckpoint = regexp.MustCompile(`(?m)^mairust_journal_checkpoint_seconds_count [1-9]`)

// addMailbox makes one more mailbox while the daemon runs.
func (r *tortureRig) addMailbox(t *testing.T, local string) {
	t.Helper()
	r.site.run(t, "init", "--tenant", "example", "--domain", "example.test", "--mailbox", local+"@example.test",
		"--mailbox-password-file", filepath.Join(r.site.dir, "pw"))
	r.site.appPasswords[local+"@example.test"] = "mailbox password"
	r.locals = append(append([]string(nil), tortureMailboxes...), local)
}

// mutant is a way to leave out one flush, a build or a setting of the database server, with the round that shows it.
type mutant struct {
	name string
	// tag builds the daemon without it.
	tag string
	// setting is a line of postgresql.conf.
	setting string
	round   cutRound
	// long says that short runs have no time for it.
	long bool
}

// mutants are those that the tests of each database must notice. Names are not among those of SQLite: the flush of its
// log brings them to the disk, too.
var mutants = map[string][]mutant{
	sqldb.SQLite: {
		{name: "the journal", tag: "mairust_mutant_journal", round: cutAfterSmall},
		{name: "the checkpoint", tag: "mairust_mutant_checkpoint", round: cutAfterCheckpoint, long: true},
		{name: "big objects", tag: "mairust_mutant_objects", round: cutAfterBig, long: true},
		{name: "rows", tag: "mairust_mutant_rows", round: cutAfterSmall, long: true},
	},
	sqldb.Postgres: {
		{name: "rows", setting: "fsync = off", round: cutAfterSmall},
		{name: "names", tag: "mairust_mutant_names", round: cutAfterBig, long: true},
		{name: "big objects", tag: "mairust_mutant_objects", round: cutAfterBig, long: true},
		{name: "the journal", tag: "mairust_mutant_journal", round: cutAfterSmall},
		{name: "the checkpoint", tag: "mairust_mutant_checkpoint", round: cutAfterCheckpoint, long: true},
	},
}

// mutantRounds are enough for a flush that is missing to show.
const mutantRounds = 20

// loseWith runs rounds with the mutant until mail is lost, and says how soon that was.
func loseWith(t *testing.T, r *tortureRig, seed uint64, backend string, m mutant) string {
	t.Helper()
	whole := r.site.program
	defer func() { r.site.program = whole }()
	if m.tag != "" {
		r.site.program = buildMutant(t, m.tag)
	}
	for n := range mutantRounds {
		r.freshDisk(t)
		if m.setting != "" {
			appendLine(t, r.postgresFile("postgresql.conf"), m.setting)
		}
		r.cut(t, rand.New(rand.NewPCG(seed, uint64(n))), m.round)
		var found []finding
		if err := r.comeBack(t); err != nil {
			t.Logf("round %d shows nothing: %v", n+1, err)
		} else {
			found = slices.DeleteFunc(r.inspect().findings, func(f finding) bool { return f.kind != foundLost && f.kind != foundCorrupt })
		}
		r.down()
		if len(found) > 0 {
			t.Logf("%s: %s", found[0].kind, found[0].what)
			return fmt.Sprintf("%s without the flush of %s: %s in round %d", backend, m.name, found[0].kind, n+1)
		}
	}
	t.Fatalf("nothing was lost in %d rounds without the flush of %s: the rig does not notice", mutantRounds, m.name)
	return ""
}
