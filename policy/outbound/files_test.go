package outbound

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

var quiet = slog.New(slog.DiscardHandler)

// someStates are three accounts that no file has.
func someStates(t *testing.T) *states {
	t.Helper()
	s := newStates(0, prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}))
	for _, a := range []policy.Account{"a@one.test", "b@one.test", "c@one.test"} {
		e := s.hold(a)
		s.put(e, known{tenant: "t", state: []byte{1}}, policy.Normal)
		s.release(e)
	}
	return s
}

func unjournalled(s *states) (n int) {
	s.each(func(e *entry) {
		if !e.journalled {
			n++
		}
	})
	return n
}

// restored is how many records a file of states has, by account.
func restored(t *testing.T, path string) map[policy.Account]int {
	t.Helper()
	list := map[policy.Account]int{}
	j, err := openJournal(path, quiet, func(a policy.Account, _ known) { list[a]++ })
	require.NoError(t, err)
	require.NoError(t, j.Close())
	return list
}

func openStates(t *testing.T, path string) *journal {
	t.Helper()
	j, err := openJournal(path, quiet, func(policy.Account, known) {})
	require.NoError(t, err)
	return j
}

func TestAllChangedStatesAreKeptAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "states")
	s, j := someStates(t), openStates(t, path)
	require.NoError(t, j.save(s))
	require.Zero(t, unjournalled(s))
	require.NoError(t, j.Close())
	require.Len(t, restored(t, path), 3)
}

func TestStatesAreKeptWhenTheFileCannotBeMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "states")
	s, j := someStates(t), openStates(t, path)
	j.base = -compactBytes // it has grown
	// A directory in its place keeps the new file out; the old one is to be found under another name.
	require.NoError(t, os.Rename(path, path+".aside"))
	require.NoError(t, os.MkdirAll(filepath.Join(path, "x"), 0o700))
	require.Error(t, j.compact(s))
	require.Equal(t, 3, unjournalled(s))
	require.Error(t, j.save(s), "it is told")
	require.Zero(t, unjournalled(s), "and kept all the same")
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.Rename(path+".aside", path))
	require.NoError(t, j.save(s))
	require.NoError(t, j.Close())
	require.Equal(t, map[policy.Account]int{"a@one.test": 1, "b@one.test": 1, "c@one.test": 1}, restored(t, path), "made anew")
}

func TestFileOfStatesIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "states")
	s, j := someStates(t), openStates(t, path)
	require.NoError(t, j.file.Close())
	j.file = nil // as after a new file that could not be opened
	require.NoError(t, j.save(s))
	require.NoError(t, j.Close())
	require.Len(t, restored(t, path), 3)
}

func TestTornRowIsCutOffSoThatThoseBehindAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	rows := func(account string) []store.OutboundDecision { return []store.OutboundDecision{{Account: account}} }
	s, err := openSpool(path, 0, quiet)
	require.NoError(t, err)
	_, err = s.add(append(rows("a"), rows("torn")...))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.Truncate(path, s.bytes()-3))

	s, err = openSpool(path, 0, quiet)
	require.NoError(t, err)
	_, err = s.add(rows("b"))
	require.NoError(t, err)
	var got []string
	n, err := s.drain(func(rows []store.OutboundDecision) error {
		for _, r := range rows {
			got = append(got, r.Account)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"a", "b"}, got)
	require.Zero(t, s.bytes())

	// What is damaged while it is open is told.
	_, err = s.add(rows("c"))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, s.bytes()-1))
	_, err = s.drain(func([]store.OutboundDecision) error { return nil })
	require.ErrorIs(t, err, errDamaged)
	require.NoError(t, s.Close())
}

func TestRowsDoNotWaitForADatabaseThatIsAway(t *testing.T) {
	g, err := New(policy.Options{Mode: policy.Enforce}, Options{}, nil, Deps{Hash: func(...string) uint64 { return 0 }, Dir: t.TempDir()})
	require.NoError(t, err)
	g.away.Store(true)
	g.store.Store(&store.Store{}) // asking it would panic
	g.writer.add(store.OutboundDecision{Account: "a"})
	g.writer.flush(context.Background())
	require.Positive(t, g.writer.spool.bytes())
	require.NoError(t, g.Close())
}
