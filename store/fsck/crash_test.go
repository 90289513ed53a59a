package fsck_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// scene is a state of an installation that something is to be done about.
type scene struct {
	letters []letter
	// act does it; it is stopped after each step.
	act func(f *fsck.Fsck) error
}

func sweepIt(ctx context.Context) func(f *fsck.Fsck) error {
	return func(f *fsck.Fsck) error {
		_, err := f.Sweep(ctx)
		return err
	}
}

func checkIt(ctx context.Context, q fsck.Request) func(f *fsck.Fsck) error {
	return func(f *fsck.Fsck) error {
		_, err := f.Check(ctx, q, func(fsck.Event) {})
		return err
	}
}

// scenes make an installation each.
var scenes = map[string]func(t *testing.T, r *rig) scene{
	"adopt": func(t *testing.T, r *rig) scene {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		s := scene{act: sweepIt(t.Context())}
		for i, word := range []string{"allow", "quarantine", ""} {
			s.letters = append(s.letters, r.put(r.write(site.Target("bob"), fmt.Sprint(i), fmt.Sprint("Q", i), word)))
		}
		return s
	},
	"duplicate": func(t *testing.T, r *rig) scene {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		s := scene{act: sweepIt(t.Context())}
		for i := range 2 {
			l := r.write(site.Target("bob"), fmt.Sprint(i), fmt.Sprint("Q", i), "")
			r.deliver(l)
			s.letters = append(s.letters, l)
			l.copy.Key = store.ObjectKey(l.copy.Target.Tenant, l.copy.Target.Mailbox, store.NewMessageID())
			r.put(l)
		}
		require.NoError(t, r.objects.Delete(t.Context(), s.letters[1].copy.Key)) // mended by its copy
		return s
	},
	"move and expire": func(t *testing.T, r *rig) scene {
		storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.putKey("stray/1", "x")
		r.putKey("stray/2", "y")
		return scene{act: func(f *fsck.Fsck) error {
			for _, act := range []func(*fsck.Fsck) error{sweepIt(t.Context()), sweepIt(t.Context())} {
				if err := act(f); err != nil {
					return err
				}
			}
			return nil
		}}
	},
	"repair": func(t *testing.T, r *rig) scene {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		s := scene{act: checkIt(t.Context(), fsck.Request{Repair: true, MinAge: -1})}
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		restore := r.dump()
		carol := storetest.NewSite(t, r.store, "one", "one.test", "carol")
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		for i := range 3 {
			s.letters = append(s.letters, r.write(site.Target("bob"), fmt.Sprint(i), fmt.Sprint("Q", i), ""))
		}
		s.letters = append(s.letters, r.write(carol.Target("carol"), "c", "QC", ""))
		r.deliver(s.letters...)
		restore()
		r.exec(`UPDATE mailboxes SET messages = 77`)
		return s
	},
	"rebuild": func(t *testing.T, r *rig) scene {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "alice")
		s := scene{act: checkIt(t.Context(), fsck.Request{Rebuild: true, MinAge: -1})}
		for i := range 4 {
			s.letters = append(s.letters, r.write(site.Target([]string{"bob", "alice"}[i%2]), fmt.Sprint(i), fmt.Sprint("Q", i), ""))
		}
		r.deliver(s.letters...)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.anew()
		return s
	},
}

func TestStoppedAfterEachStepAndRunAgainItComesOutClean(t *testing.T) {
	for name, build := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, r *rig) {
				for n := 1; ; n++ {
					r := newRig(t, r.options.Backend)
					s := build(t, r)
					f := r.fsck()
					steps := fsck.StopAfter(f, n)
					err := s.act(f)
					if len(steps()) < n {
						require.NoError(t, err)
						require.Greater(t, n, 2, "there were steps: %v", steps())
						return
					}
					require.ErrorIs(t, err, fsck.ErrStep, "step %d: %v", n, steps())
					require.NoError(t, s.act(r.fsck()), "again after %v", steps())
					r.requireAllThere(s.letters)
					r.mustSweep()
					r.requireClean()
					require.LessOrEqual(t, len(r.keys("orphan/")), 2)
				}
			})
		})
	}
}

// requireAllThere holds that each message is indexed and readable.
func (r *rig) requireAllThere(letters []letter) {
	r.t.Helper()
	for _, l := range letters {
		require.NotNil(r.t, r.message(l), l.copy.Content.Summary.Subject)
		require.Equal(r.t, l.raw, r.object(l.copy.Key))
	}
}

// A repair of a database that was set back adopts young objects too, while mail comes in.
func TestMailIsDeliveredDuringARepair(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		restore := r.dump()
		require.NoError(t, r.fsck().Watch(t.Context()))
		var letters []letter
		for i := range 50 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("old ", i), fmt.Sprint("O", i), ""))
		}
		r.deliver(letters...)
		restore()
		r.ahead = 0 // all of it is young

		var mu sync.Mutex
		var stop atomic.Bool
		var group sync.WaitGroup
		for w := range 4 {
			group.Go(func() {
				for i := 0; !stop.Load(); i++ {
					l := r.write(site.Target("bob"), fmt.Sprint("new ", w, i), fmt.Sprint("N", w, "x", i), "")
					r.deliver(l)
					mu.Lock()
					letters = append(letters, l)
					mu.Unlock()
				}
			})
		}
		for i := range 3 {
			q := fsck.Request{Repair: true, MinAge: -1}
			report, err := r.fsck().Check(t.Context(), q, func(fsck.Event) {})
			require.NoError(t, err)
			require.Zero(t, report.Left, "round %d: %v", i, report.Kinds)
		}
		stop.Store(true)
		group.Wait()
		r.requireAllThere(letters)
		r.ahead = 2 * 60 * 60 * 1e9
		r.mustSweep()
		r.requireClean()
	})
}
