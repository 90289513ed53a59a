package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// TestTorture shows what a 250 means (docs/durability.md): whatever happens to the daemon, to its database server or to
// the power, what was acknowledged is there, whole, once, and can be read by every way that there is.
//
// `go test` runs short versions. `make torture` sets MAIRUST_TORTURE=1 for the long ones; each number of rounds can be
// given too, and MAIRUST_TORTURE_SEED repeats the choices of a run.
func TestTorture(t *testing.T) {
	report := newTortureReport(tortureSeed(t))
	t.Cleanup(func() { report.print(os.Stdout) })
	for _, backend := range storetest.Backends() {
		t.Run("kill/"+backend, func(t *testing.T) {
			report.rounds(t, "kill -9 under load or at the start", backend, tortureRounds(t, "KILL", 10, 500), killRound)
		})
		t.Run("terminate/"+backend, func(t *testing.T) {
			report.rounds(t, "SIGTERM under load, alone or before a SIGKILL or another", backend,
				tortureRounds(t, "TERM", 4, 100), terminateRound)
		})
	}
	for _, backend := range storetest.Backends() {
		t.Run("s3/"+backend, func(t *testing.T) { tortureS3(t, report, backend) })
	}
	t.Run("database", func(t *testing.T) { tortureDatabase(t, report) })
	for _, backend := range storetest.Backends() {
		t.Run("power/"+backend, func(t *testing.T) { torturePower(t, report, backend) })
	}
}

// tortureSeed is given by MAIRUST_TORTURE_SEED, or new.
func tortureSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("MAIRUST_TORTURE_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("seed %d", seed)
	return seed
}

// tortureRounds is MAIRUST_TORTURE_<name> if it is set.
func tortureRounds(t *testing.T, name string, short, long int) int {
	t.Helper()
	if given := os.Getenv("MAIRUST_TORTURE_" + name); given != "" {
		n, err := strconv.Atoi(given)
		require.NoError(t, err)
		return n
	}
	if os.Getenv("MAIRUST_TORTURE") != "" {
		return long
	}
	return short
}

// killRound kills the daemon: while it starts, with clients at its door, or when it has acknowledged some mail.
func killRound(t *testing.T, r *tortureRig, random *rand.Rand, name string) {
	t.Helper()
	if random.IntN(4) == 0 {
		r.daemon = r.site.launch(t)
		load := startLoad(t.Context(), r.site, r.ledger, someLoad(random), name, random.Uint64())
		moment(random, r.startTook*3/2)
		r.daemon.kill()
		load.stop()
		return
	}
	require.NoError(t, r.start(t))
	load := startLoad(t.Context(), r.site, r.ledger, someLoad(random), name, random.Uint64())
	r.awaitAcks(t, random.IntN(100))
	moment(random, 3*time.Millisecond)
	r.daemon.kill()
	load.stop()
}

// terminateRound asks the daemon to end while it is busy, and may lose patience in one way or the other.
func terminateRound(t *testing.T, r *tortureRig, random *rand.Rand, name string) {
	t.Helper()
	require.NoError(t, r.start(t))
	load := startLoad(t.Context(), r.site, r.ledger, someLoad(random), name, random.Uint64())
	r.awaitAcks(t, 1+random.IntN(60))
	require.NoError(t, r.daemon.askToEnd())
	switch random.IntN(3) {
	case 0:
		moment(random, 20*time.Millisecond)
		r.daemon.kill()
	case 1:
		moment(random, 20*time.Millisecond)
		_ = r.daemon.askToEnd() // it may have ended
		<-r.daemon.done
	default:
		<-r.daemon.done
		require.NoError(t, r.daemon.err, "%s", r.daemon.tail(20))
	}
	load.stop()
}

// tortureDatabase stops PostgreSQL as pg_ctl stop -m immediate does, again and again, while mail comes in. The daemon
// goes on by itself.
func tortureDatabase(t *testing.T, report *tortureReport) {
	r := newRigWithServer(t)
	random := rand.New(rand.NewPCG(report.seed, 0))
	began, rounds := time.Now(), tortureRounds(t, "DATABASE", 3, 100)
	require.NoError(t, r.start(t))
	load := startLoad(t.Context(), r.site, r.ledger, mixedLoad, "db", report.seed)
	for round := range rounds {
		r.awaitAcks(t, 1+random.IntN(60))
		moment(random, 3*time.Millisecond)
		r.server.Stop(lab.StopImmediate)
		require.NoError(t, r.server.Start(t.Context()))
		report.progress(t, round, rounds)
	}
	r.awaitAcks(t, 50)
	load.stop()
	line := &tally{what: "PostgreSQL: stop -m immediate under load", backend: sqldb.Postgres}
	line.inspectSwept(t, r, random, rounds)
	line.took = time.Since(began)
	report.lines = append(report.lines, line)
	select {
	case <-r.daemon.done:
		t.Errorf("the daemon ended with its database: %v", r.daemon.err)
	default:
	}
}

// roundsOfASite is how many rounds an installation takes before it is inspected and another one takes its place.
const roundsOfASite = 50

// rounds runs rounds of a kind that needs no disk of its own, and inspects what is left.
func (report *tortureReport) rounds(t *testing.T, what, backend string, rounds int, round tortureRound) {
	t.Helper()
	report.roundsOn(t, newTortureRig, what, backend, rounds, round)
}

// tortureRound does one thing to a rig whose daemon does not run, and leaves it so.
type tortureRound func(t *testing.T, r *tortureRig, random *rand.Rand, name string)

// roundsOn is rounds on rigs of another kind.
func (report *tortureReport) roundsOn(t *testing.T, newRig func(testing.TB, string) *tortureRig, what, backend string, rounds int, round tortureRound) {
	t.Helper()
	line := &tally{what: what, backend: backend}
	report.lines = append(report.lines, line)
	began := time.Now()
	defer func() { line.took = time.Since(began) }()
	for first := 0; first < rounds && !t.Failed(); first += roundsOfASite {
		last := min(first+roundsOfASite, rounds)
		t.Run(fmt.Sprintf("to %d", last), func(t *testing.T) {
			r := newRig(t, backend)
			for n := first; n < last; n++ {
				round(t, r, rand.New(rand.NewPCG(report.seed, uint64(n))), fmt.Sprint(n))
				report.progress(t, n, rounds)
			}
			require.NoError(t, r.start(t))
			line.inspectSwept(t, r, rand.New(rand.NewPCG(report.seed, uint64(len(report.lines)+last))), last-first)
		})
	}
}
