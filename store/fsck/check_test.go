package fsck_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// Asked for by name: a dump from before 1,000 deliveries is restored, and nothing is lost.
func TestOldDump(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "alice")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		var letters []letter
		for i := range 30 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("before ", i), fmt.Sprint("B", i), "allow"))
		}
		r.deliver(letters...)
		require.NoError(t, r.fsck().Watch(ctx))
		restore := r.dump()
		require.NoError(t, r.fsck().Watch(ctx))

		// After the dump: 1,000 deliveries, a mailbox of their own for some, and messages that were moved.
		storetest.NewSite(t, r.store, "one", "one.test", "carol")
		site = storetest.NewSite(t, r.store, "one", "one.test", "bob", "alice", "carol")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		words := []string{"allow", "tag", "quarantine", ""}
		for i := range 1000 {
			to := site.Target([]string{"bob", "alice", "carol"}[i%3])
			letters = append(letters, r.write(to, fmt.Sprint("after ", i), fmt.Sprint("A", i), words[i%4]))
		}
		deliverAll(t, r, letters[30:])
		_, err := r.store.MoveMessages(ctx, store.System, []store.MessageID{letters[0].copy.ID}, store.Archive)
		require.NoError(t, err)
		seen := uidsSeen(t, r, site)

		restore()
		f := r.fsck()
		require.ErrorIs(t, f.Compare(ctx), fsck.ErrStopped, "the database shows that it was set back")
		for range 2 {
			_, err = r.fsck().Sweep(ctx)
			require.ErrorIs(t, err, fsck.ErrStopped)
		}
		require.Equal(t, 1, strings.Count(r.log.String(), "sweep stopped"))
		// Mail goes on meanwhile, and gets UIDs that clients have seen for other messages.
		again := r.write(site.Target("bob"), "while the sweep is stopped", "C1", "allow")
		r.deliver(again)
		letters = append(letters, again)

		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		for _, l := range letters {
			require.NotNil(t, r.message(l), l.copy.Content.Summary.Subject)
			require.Equal(t, l.raw, r.object(l.copy.Key))
		}
		for uid, id := range uidsSeen(t, r, site) {
			require.Contains(t, []store.MessageID{"", id}, seen[uid], "a client saw another message as %v", uid)
		}
		swept := r.mustSweep()
		require.Empty(t, swept.Orphans)
		require.Empty(t, r.keys("orphan/"))
		r.requireClean()
	})
}

// deliverAll delivers with many at once, as sessions do.
func deliverAll(t *testing.T, r *rig, letters []letter) {
	t.Helper()
	errs := make(chan error, len(letters))
	work := make(chan letter, len(letters))
	for _, l := range letters {
		work <- l
	}
	close(work)
	for range 16 {
		go func() {
			for l := range work {
				err := r.objects.Put(context.Background(), l.copy.Key, strings.NewReader(l.raw), int64(len(l.raw)))
				if err == nil {
					err = r.store.Deliver(context.Background(), []store.Copy{l.copy})[0].Err
				}
				errs <- err
			}
		}()
	}
	for range letters {
		require.NoError(t, <-errs)
	}
}

type seenUID struct {
	folder   store.FolderID
	validity uint32
	uid      uint32
}

// uidsSeen is what IMAP clients know.
func uidsSeen(t *testing.T, r *rig, site *storetest.Site) map[seenUID]store.MessageID {
	t.Helper()
	seen := map[seenUID]store.MessageID{}
	for _, m := range site.Mailboxes {
		d, err := r.store.MailboxDescription(t.Context(), m.ID)
		require.NoError(t, err)
		for _, f := range d.Folders {
			list, err := r.store.Entries(t.Context(), store.System, f.ID, 0, 10_000)
			require.NoError(t, err)
			for _, e := range list {
				seen[seenUID{f.ID, f.UIDValidity, e.UID}] = e.ID
			}
		}
	}
	return seen
}

func TestRebuildFromObjectsAlone(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "One KK", "one.test", "bob", "alice")
		empty := storetest.NewSite(t, r.store, "two", "two.test", "eve")
		var letters []letter
		for i, word := range []string{"allow", "quarantine", "", "tag", "allow"} {
			letters = append(letters, r.write(site.Target([]string{"bob", "alice"}[i%2]), fmt.Sprint("m", i), fmt.Sprint("Q", i), word))
		}
		letters[2].copy.Folder = "Lists"
		r.deliver(letters...)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		lists := r.folder(site.Mailboxes["bob"].ID, "Lists")
		var before []*store.Message
		for _, l := range letters {
			before = append(before, r.message(l))
		}
		_, err := r.fsck().Check(t.Context(), fsck.Request{Rebuild: true}, func(fsck.Event) {})
		require.ErrorIs(t, err, fsck.ErrNotEmpty)

		r.anew()
		report, problems := r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		for i, l := range letters {
			got, want := r.message(l), before[i]
			require.NotNil(t, got)
			require.Equal(t, want.MailboxAddress, got.MailboxAddress)
			require.Equal(t, want.Digest, got.Digest)
			require.Equal(t, want.Subject, got.Subject)
			require.Equal(t, want.Verdict, got.Verdict)
			if i != 2 {
				require.Equal(t, want.FolderName, got.FolderName)
			}
		}
		tenant, err := r.store.TenantByName(t.Context(), "one kk")
		require.NoError(t, err)
		require.Equal(t, site.Tenant.ID, tenant.ID)
		eve, err := r.store.MailboxByAddress(t.Context(), store.System, "eve@two.test")
		require.NoError(t, err, "mailboxes without mail are made too")
		require.Equal(t, empty.Mailboxes["eve"].ID, eve.ID)
		require.Greater(t, r.folder(site.Mailboxes["bob"].ID, "Lists").UIDValidity, lists.UIDValidity)
		r.mustSweep()
		r.requireClean()
	})
}

func TestEveryByteIsVerifiedAndDamageNamedAndMarked(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		var letters []letter
		for i := range 6 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("m", i), "", ""))
		}
		r.deliver(letters...)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		key := func(i int) string { return letters[i].copy.Key }
		r.damage(key(1), func(b []byte) []byte { b[20] ^= 1; return b })
		r.damage(key(2), func(b []byte) []byte { return b[:9] })
		r.damage(key(3), func(b []byte) []byte { return append(b, 'x') })
		require.NoError(t, r.objects.Delete(t.Context(), key(4)))

		_, problems := r.check(fsck.Request{DryRun: true, VerifyContent: true, MinAge: -1})
		require.Len(t, problems, 4)
		n, err := r.store.CountDamaged(t.Context())
		require.NoError(t, err)
		require.Zero(t, n, "a dry run marks nothing")

		_, problems = r.check(fsck.Request{MinAge: -1})
		require.Len(t, problems, 3, "sizes and what is missing show without reading")
		report, problems := r.check(fsck.Request{VerifyContent: true, Repair: true, MinAge: -1})
		require.Equal(t, int64(4), report.Left)
		kinds := map[string]string{}
		for _, p := range problems {
			kinds[p.Key] = p.Kind
			require.NotEmpty(t, p.Message)
			require.Contains(t, r.log.String(), p.Message, "named in the log")
		}
		require.Equal(t, map[string]string{key(1): fsck.KindContent, key(2): fsck.KindSize, key(3): fsck.KindSize, key(4): fsck.KindMissing}, kinds)
		n, err = r.store.CountDamaged(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(4), n)

		for i := 1; i <= 4; i++ { // put back from a backup
			require.NoError(t, r.objects.Replace(t.Context(), key(i), strings.NewReader(letters[i].raw), int64(len(letters[i].raw))))
		}
		_, problems = r.check(fsck.Request{MinAge: -1})
		require.Empty(t, problems, "what is marked is read, even if the rest is not")
		n, err = r.store.CountDamaged(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		r.requireClean()
	})
}

func TestVerifyingGoesOnWhereItWasInterrupted(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		var letters []letter
		for i := range 1500 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("m", i), "", ""))
		}
		deliverAll(t, r, letters)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		report, err := r.fsck().Check(ctx, fsck.Request{VerifyContent: true, MinAge: -1}, func(e fsck.Event) {
			if p := e.Progress; p != nil && p.Phase == "content" && p.Done > 600 {
				cancel()
			}
		})
		require.NoError(t, err)
		if report.Interrupted { // the progress may have been told too late
			require.Less(t, report.Messages, int64(1500))
		}
		f := r.fsck()
		fsck.StopAfter(f, 2) // two pages
		_, err = f.Check(t.Context(), fsck.Request{VerifyContent: true, Restart: true, MinAge: -1}, func(fsck.Event) {})
		require.ErrorIs(t, err, fsck.ErrStep)
		report, problems := r.check(fsck.Request{VerifyContent: true, MinAge: -1})
		require.Empty(t, problems)
		require.Equal(t, int64(1500-1024), report.Verified)
		require.Equal(t, int64(1500), report.Messages)
		require.NotZero(t, report.VerifyBegan)
		report, _ = r.check(fsck.Request{VerifyContent: true, MinAge: -1})
		require.Equal(t, int64(1500), report.Verified, "it begins anew when it has ended")
	})
}

// What an interrupted run has read may have gone since, and what it found damaged is damaged still.
func TestVerifyingThatGoesOnForgetsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		var letters []letter
		for i := range 1200 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("m", i), "", ""))
		}
		deliverAll(t, r, letters)
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		damaged, gone := letters[3].copy.Key, letters[4].copy.Key
		r.damage(damaged, func(b []byte) []byte { b[20] ^= 1; return b })
		f := r.fsck()
		fsck.StopAfter(f, 3) // the mark, and two pages
		_, err := f.Check(ctx, fsck.Request{VerifyContent: true, MinAge: -1}, func(fsck.Event) {})
		require.ErrorIs(t, err, fsck.ErrStep)
		is, err := r.store.SweepState(ctx)
		require.NoError(t, err)
		require.NotEmpty(t, is.VerifyAfter)
		require.NoError(t, r.objects.Delete(ctx, gone))

		report, problems := r.check(fsck.Request{VerifyContent: true, MinAge: -1})
		require.Equal(t, int64(2), report.Left)
		require.ElementsMatch(t, []string{damaged, gone}, []string{problems[0].Key, problems[1].Key})

		// A note that came with a dump says nothing of the objects since.
		require.NoError(t, r.objects.Replace(ctx, damaged, strings.NewReader(letters[3].raw), int64(len(letters[3].raw))))
		r.put(letters[4])
		require.NoError(t, r.store.NoteVerified(ctx, is.VerifyAfter, time.Now()))
		restore := r.dump()
		require.NoError(t, r.fsck().Watch(ctx))
		restore()
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		report, _ = r.check(fsck.Request{VerifyContent: true, Repair: true, MinAge: -1})
		require.Equal(t, int64(1200), report.Verified)
		require.Zero(t, report.VerifyBegan)
		require.Zero(t, report.Left)
	})
}

// badBlock fails to read one object.
type badBlock struct {
	fsck.Bucket
	key string
}

func (b badBlock) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == b.key {
		return nil, blob.Info{}, syscall.EIO
	}
	return b.Bucket.Get(ctx, key, offset, n)
}

func TestVerifyingDoesNotGoPastWhatItCouldNotRead(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		var letters []letter
		for i := range 600 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("m", i), "", ""))
		}
		deliverAll(t, r, letters)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		verified := func() store.MessageID {
			f := r.fsck()
			fsck.StopAfter(f, 1) // when it notes how far it is
			_, err := f.Check(t.Context(), fsck.Request{VerifyContent: true, Restart: true, MinAge: -1}, func(fsck.Event) {})
			require.ErrorIs(t, err, fsck.ErrStep)
			state, err := r.store.SweepState(t.Context())
			require.NoError(t, err)
			return state.VerifyAfter
		}
		require.NotEmpty(t, verified(), "the first page")
		require.NoError(t, r.store.NoteVerified(t.Context(), "", time.Time{}))
		r.through = badBlock{r.through, letters[3].copy.Key}
		require.Empty(t, verified())
	})
}

func TestVerifyingKeepsToItsRate(t *testing.T) {
	r := newRig(t, "sqlite")
	site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
	var letters []letter
	for i := range 10 {
		l := r.write(site.Target("bob"), fmt.Sprint("m", i), "", "")
		letters = append(letters, l)
	}
	r.deliver(letters...)
	var bytes int64
	for _, l := range letters {
		bytes += int64(len(l.raw))
	}
	report, _ := r.check(fsck.Request{VerifyContent: true, BytesPerSecond: 2 * bytes, MinAge: -1})
	require.GreaterOrEqual(t, report.Took, 450*time.Millisecond)
}

func TestCountersAreCountedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l, last := r.write(site.Target("bob"), "x", "Q1", ""), r.write(site.Target("bob"), "y", "Q2", "")
		r.deliver(l, last)
		_, err := r.store.DeleteMessages(t.Context(), store.System, []store.MessageID{l.copy.ID})
		require.NoError(t, err)
		_, err = r.store.MoveMessages(t.Context(), store.System, []store.MessageID{last.copy.ID}, store.Archive)
		require.NoError(t, err, "the highest UID is one that left the folder")
		r.requireCleanAfter(func() {})
		before := r.folder(site.Mailboxes["bob"].ID, store.Inbox)
		r.exec(`UPDATE mailboxes SET used_bytes = used_bytes + 7, messages = 0`)
		r.exec(`UPDATE tenants SET used_bytes = 1`)
		r.exec(`UPDATE folders SET messages = 9, uidnext = 1, modseq = 0 WHERE name = 'INBOX'`)
		report, problems := r.check(fsck.Request{MinAge: -1})
		require.Equal(t, int64(3), report.Left, "%v", problems)
		report, problems = r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(3), report.Mended, "%v", problems)
		after := r.folder(site.Mailboxes["bob"].ID, store.Inbox)
		require.Equal(t, before.Messages, after.Messages)
		require.Equal(t, before.UIDNext, after.UIDNext)
		require.GreaterOrEqual(t, after.ModSeq, before.ModSeq)
		m, err := r.store.MailboxByAddress(t.Context(), store.System, "bob@one.test")
		require.NoError(t, err)
		require.Equal(t, int64(2), m.Messages)
		require.Equal(t, 2*l.copy.Content.SizeBytes, m.UsedBytes)
		r.requireClean()
	})
}

// requireCleanAfter describes the mailboxes first, which a daemon would have done.
func (r *rig) requireCleanAfter(act func()) {
	r.t.Helper()
	act()
	require.NoError(r.t, r.fsck().DescribeAll(context.Background()))
	r.requireClean()
}
