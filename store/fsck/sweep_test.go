package fsck_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

func TestObjectWithoutRowIsAdoptedAsItWasDelivered(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		kept := r.write(site.Target("bob"), "kept", "Q0", "allow")
		scanned := r.write(site.Target("bob"), "scanned", "Q1", "tag")
		quarantined := r.write(site.Target("bob"), "quarantined", "Q2", "quarantine")
		unscanned := r.write(site.Target("bob"), "unscanned", "", "")
		r.deliver(kept, scanned, quarantined, unscanned)
		lost := []letter{scanned, quarantined, unscanned}
		var before []*store.Message
		for _, l := range lost {
			before = append(before, r.message(l))
		}
		bob := site.Mailboxes["bob"].ID
		inbox, quarantine := r.folder(bob, store.Inbox), r.folder(bob, store.Quarantine)
		r.forget(lost...)

		swept := r.mustSweep()
		require.Equal(t, map[string]int64{"adopted": 3}, swept.Orphans)
		for i, l := range lost {
			want, got := before[i], r.message(l)
			require.NotNil(t, got, l.copy.Content.Summary.Subject)
			require.Greater(t, got.UID, want.UID, "no UID is used again")
			require.WithinDuration(t, want.Received, got.Received, time.Second)
			require.Equal(t, append(want.Tags, "recovered"), got.Tags)
			want.UID, want.ModSeq, want.Received, want.Tags = got.UID, got.ModSeq, got.Received, got.Tags
			require.Equal(t, want, got)
		}
		require.Greater(t, r.folder(bob, store.Inbox).UIDValidity, inbox.UIDValidity)
		require.Greater(t, r.folder(bob, store.Quarantine).UIDValidity, quarantine.UIDValidity)
		require.Empty(t, r.mustSweep().Orphans)
		r.requireClean()
	})
}

func TestWhatCannotBeVerifiedAnyMoreStaysInQuarantine(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		allowed := r.put(r.write(site.Target("bob"), "allowed", "Q1", "allow"))
		quarantined := r.put(r.write(site.Target("bob"), "quarantined", "Q2", "quarantine"))
		var err error
		r.ring, _, err = keyring.OpenOrCreate("file:" + filepath.Join(t.TempDir(), "another"))
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"adopted": 2}, r.mustSweep().Orphans)
		require.Equal(t, store.Inbox, r.message(allowed).FolderName)
		require.Equal(t, store.Quarantine, r.message(quarantined).FolderName)
		for _, l := range []letter{allowed, quarantined} {
			require.Equal(t, []string{"unscanned", "recovered"}, r.message(l).Tags, "no verdict is believed")
			require.Equal(t, "allow", r.message(l).Verdict)
		}
	})
}

func TestYoungObjectIsLeftAlone(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.put(r.write(site.Target("bob"), "under way", "Q1", ""))
		r.ahead = 59 * time.Minute
		swept := r.mustSweep()
		require.Empty(t, swept.Orphans)
		require.Positive(t, swept.Young)
		require.Nil(t, r.message(l))
		r.ahead = 61 * time.Minute
		require.Equal(t, map[string]int64{"adopted": 1}, r.mustSweep().Orphans)
	})
}

func TestDuplicateGoesWhenTheOtherIsWhole(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		stored := r.write(site.Target("bob"), "sent again", "Q1", "allow")
		r.deliver(stored)
		again := stored
		again.copy.ID = store.NewMessageID()
		again.copy.Key = store.ObjectKey(site.Tenant.ID, again.copy.Target.Mailbox, again.copy.ID)
		r.put(again)
		require.Equal(t, map[string]int64{"duplicate": 1}, r.mustSweep().Orphans)
		require.Empty(t, r.object(again.copy.Key))
		require.Equal(t, stored.raw, r.object(stored.copy.Key))

		for name, damage := range map[string]func(){
			"missing":   func() { require.NoError(t, r.objects.Delete(t.Context(), stored.copy.Key)) },
			"shortened": func() { r.damage(stored.copy.Key, func(b []byte) []byte { return b[:len(b)-1] }) },
			"altered":   func() { r.damage(stored.copy.Key, func(b []byte) []byte { b[9] ^= 1; return b }) },
		} {
			r.put(again)
			damage()
			require.Equal(t, map[string]int64{"mended": 1}, r.mustSweep().Orphans, name)
			require.Equal(t, stored.raw, r.object(stored.copy.Key), "%s: mended by the copy", name)
			require.Equal(t, stored.raw, r.object(again.copy.Key), "%s: it outlives the sweep that has mended", name)
			require.Contains(t, r.log.String(), "outcome=mended")
			require.Equal(t, map[string]int64{"duplicate": 1}, r.mustSweep().Orphans, name)
			require.Equal(t, stored.raw, r.object(stored.copy.Key), name)
			require.Empty(t, r.object(again.copy.Key), name)
		}
		r.requireClean()
	})
}

// damage changes a file behind everybody's back.
func (r *rig) damage(key string, change func([]byte) []byte) {
	r.t.Helper()
	path := filepath.Join(r.base, key)
	raw, err := os.ReadFile(path)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(path, change(raw), 0o600))
}

func TestStrangersGoToOrphanAndAfterAMonthForGood(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.deliver(r.write(site.Target("bob"), "stays", "Q1", ""))
		nobody := site.Target("bob")
		nobody.Mailbox = store.MailboxID(store.NewMessageID())
		stranger := r.put(r.write(nobody, "nobody's", "Q2", ""))
		other := storetest.NewSite(t, r.store, "two", "two.test", "eve").Target("eve")
		other.Tenant = site.Tenant.ID
		wrongTenant := r.put(r.write(other, "in the wrong tenant", "Q3", ""))
		r.putKey("what/is/this", "x")
		r.putKey(string(site.Tenant.ID)+"/"+string(site.Mailboxes["bob"].ID)+"/note.txt", "y")

		require.Equal(t, map[string]int64{"moved": 4}, r.mustSweep().Orphans)
		require.Len(t, r.keys("orphan/"), 4)
		require.Equal(t, stranger.raw, r.object("orphan/"+stranger.copy.Key))
		require.Equal(t, wrongTenant.raw, r.object("orphan/"+wrongTenant.copy.Key))
		require.Empty(t, r.object(stranger.copy.Key))
		r.requireClean()

		r.later(29 * 24 * time.Hour)
		require.Zero(t, r.mustSweep().Expired)
		require.Len(t, r.keys("orphan/"), 4)
		r.later(2 * 24 * time.Hour)
		kept := &undeletable{Bucket: r.through, key: r.keys("orphan/")[0]}
		r.through = kept
		require.Equal(t, int64(3), r.mustSweep().Expired, "one that cannot be removed ends no sweep")
		r.through = kept.Bucket
		require.Equal(t, int64(1), r.mustSweep().Expired)
		require.Empty(t, r.keys("orphan/"))
		r.requireClean()
	})
}

func TestMassOfOrphansStopsTheSweepUntilRepaired(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.sweep.MassObjects = 5
		var letters []letter
		for i := range 6 {
			letters = append(letters, r.put(r.write(site.Target("bob"), fmt.Sprint(i), fmt.Sprint("Q", i), "")))
		}
		r.putKey("stray", "x")
		for range 3 {
			_, err := r.fsck().Sweep(t.Context())
			require.ErrorIs(t, err, fsck.ErrStopped)
		}
		require.Equal(t, 1, strings.Count(r.log.String(), "sweep stopped"), "told once")
		require.Nil(t, r.message(letters[0]))
		require.Equal(t, "x", r.object("stray"))

		report, problems := r.check(fsck.Request{MinAge: -1})
		require.Equal(t, int64(10), report.Left, "%v", problems) // the stop, 7 objects, two descriptions
		report, _ = r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(9), report.Mended)
		require.Zero(t, report.Left)
		for _, l := range letters {
			require.NotNil(t, r.message(l))
		}
		require.Empty(t, r.mustSweep().Orphans)
		r.requireClean()
	})
}

func TestQuotaAndSuspensionDoNotKeepOutWhatWasAccepted(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		bob := site.Mailboxes["bob"].ID
		l := r.put(r.write(site.Target("bob"), "accepted", "Q1", ""))
		require.NoError(t, r.store.SetMailboxQuota(t.Context(), site.Tenant.ID, bob, 1, store.Beside{}))
		require.NoError(t, r.store.SuspendTenant(t.Context(), site.Tenant.ID, true, store.Beside{}))
		require.Equal(t, map[string]int64{"adopted": 1}, r.mustSweep().Orphans)
		require.NotNil(t, r.message(l))
		results := r.store.Deliver(t.Context(), []store.Copy{r.write(site.Target("bob"), "new", "Q2", "").copy})
		require.ErrorIs(t, results[0].Err, store.ErrSuspended)
	})
}

func TestOnlyOneSweepsAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ok, err := r.store.TakeSweep(t.Context(), "another node", time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		_, err = r.fsck().Sweep(t.Context())
		require.ErrorIs(t, err, fsck.ErrBusy)
		require.NoError(t, r.fsck().Watch(t.Context()), "the other one watches")
		require.NoError(t, r.store.ReleaseSweep(t.Context(), "a third one"))
		_, err = r.fsck().Sweep(t.Context())
		require.ErrorIs(t, err, fsck.ErrBusy)
		require.NoError(t, r.store.ReleaseSweep(t.Context(), "another node"))
		r.mustSweep()

		ok, err = r.store.TakeSweep(t.Context(), "one that died", -time.Second)
		require.NoError(t, err)
		require.True(t, ok)
		r.mustSweep()

		ok, err = r.store.TakeSweep(t.Context(), "one whose clock was a year ahead", 365*24*time.Hour)
		require.NoError(t, err)
		require.True(t, ok)
		r.mustSweep()
	})
}

func TestSweepIsDueAfterItsIntervalAndAfterAClockThatWasAhead(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		r.sweep.Interval = 6 * time.Hour
		for since, due := range map[time.Duration]bool{time.Minute: false, 7 * time.Hour: true, -time.Minute: false, -365 * 24 * time.Hour: true} {
			r.swept(since)
			require.Equal(t, due, r.fsck().IsDue(t.Context()), since)
		}
	})
}

func TestMailboxesAreDescribedBesideTheirObjects(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		began := time.Now().Add(r.ahead)
		site := storetest.NewSite(t, r.store, "ｏｎｅ 株式会社", "one.test", "bob", "alice..x")
		bob := site.Mailboxes["bob"].ID
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		key := string(site.Tenant.ID) + "/" + string(bob) + "/mailbox.json"
		text := r.object(key)
		for _, want := range []string{"ｏｎｅ 株式会社", "bob@one.test", string(bob), string(site.Tenant.ID), "INBOX", "Quarantine", "uidvalidity"} {
			require.Contains(t, text, want)
		}
		l := r.write(site.Target("bob"), "makes a folder", "Q1", "")
		l.copy.Folder = "Lists"
		r.deliver(l)
		r.ahead = 0
		require.NoError(t, r.fsck().DescribeSince(t.Context(), began.Add(-2*time.Hour)))
		require.Contains(t, r.object(key), `"Lists"`)
		before, err := r.objects.Stat(t.Context(), key)
		require.NoError(t, err)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		after, err := r.objects.Stat(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, before, after, "nothing is written that has not changed")
	})
}

func TestAChangedQuotaIsDescribed(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "ann")
		objects := &unwritable{Bucket: r.through}
		r.through = objects
		f := r.fsck()
		describe := f.DescribeChanged()
		require.NoError(t, describe(t.Context()), "the first call only begins")
		require.NoError(t, f.DescribeAll(t.Context()))
		key := func(local string) string {
			return string(site.Tenant.ID) + "/" + string(site.Mailboxes[local].ID) + "/mailbox.json"
		}
		for _, mailbox := range site.Mailboxes {
			require.NoError(t, r.store.SetMailboxQuota(t.Context(), site.Tenant.ID, mailbox.ID, 5_000_000_000, store.Beside{}))
		}
		objects.key = key("ann")
		require.Error(t, describe(t.Context()))
		require.Contains(t, r.object(key("bob")), `"quota_bytes": 5000000000`, "one that fails keeps no other back")
		require.NotContains(t, r.object(key("ann")), "quota")
		objects.key = ""
		require.NoError(t, describe(t.Context()), "what failed is done by the next call")
		require.Contains(t, r.object(key("ann")), `"quota_bytes": 5000000000`)

		r.anew()
		_, _ = r.check(fsck.Request{Rebuild: true, MinAge: -1})
		found, err := r.store.MailboxByAddress(t.Context(), store.System, "bob@one.test")
		require.NoError(t, err)
		require.Equal(t, int64(5_000_000_000), found.QuotaBytes)
	})
}

func TestACopyThatCannotBeRemovedEndsNoSweep(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "with copies that nobody knows", "Q1", "")
		r.deliver(l)
		target := l.copy.Target
		for _, part := range []string{"1", "2"} {
			r.putKey(store.AttachmentKey(target.Tenant, target.Mailbox, l.copy.ID, part), "decoded")
		}
		r.through = &undeletable{Bucket: r.through, key: store.AttachmentKey(target.Tenant, target.Mailbox, l.copy.ID, "1")}
		require.EqualValues(t, 1, r.mustSweep().Stale)
		state, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.False(t, state.SweptAt.IsZero())
		require.Equal(t, 1, strings.Count(r.log.String(), "copies of attachments not removed"))
		require.Contains(t, r.log.String(), "it cannot be removed")
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, fsck.Tally{Found: 1}, report.Kinds[fsck.KindCopy], "%v", problems)
		require.Contains(t, problems[0].Done, "it cannot be removed")
	})
}

// undeletable refuses to remove one object.
type undeletable struct {
	fsck.Bucket
	key string
}

func (u *undeletable) Delete(ctx context.Context, key string) error {
	if key == u.key {
		return errors.New("it cannot be removed")
	}
	return u.Bucket.Delete(ctx, key)
}

// unwritable refuses to replace one object.
type unwritable struct {
	fsck.Bucket
	key string
}

func (u *unwritable) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if key == u.key {
		return errors.New("it cannot be written")
	}
	return u.Bucket.Replace(ctx, key, r, size)
}

// readBucket notes the keys of what is read.
type readBucket struct {
	fsck.Bucket
	reads []string
}

func (b *readBucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	b.reads = append(b.reads, key)
	return b.Bucket.Get(ctx, key, offset, n)
}

// Every few seconds all that was made in the last minutes is looked for: after a thousand mailboxes were made, that must not be
// a thousand descriptions each time.
func TestMailboxIsDescribedAgainOnlyWhenAFolderWasMade(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		began := time.Now()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "alice")
		objects := &readBucket{Bucket: r.objects}
		f, err := fsck.New(fsck.Options{}, fsck.Deps{Store: r.store, Objects: objects, Verify: func(string, ...string) error { return nil }})
		require.NoError(t, err)
		require.NoError(t, f.DescribeSince(t.Context(), began))
		require.Len(t, objects.reads, 2)
		require.NoError(t, f.DescribeSince(t.Context(), began))
		require.Len(t, objects.reads, 2)

		l := r.write(site.Target("bob"), "makes a folder", "Q1", "")
		l.copy.Folder = "Lists"
		r.deliver(l)
		require.NoError(t, f.DescribeSince(t.Context(), began.Add(-2*time.Hour)))
		require.Len(t, objects.reads, 3, "that of one mailbox")
		require.Contains(t, r.object(string(site.Tenant.ID)+"/"+string(site.Mailboxes["bob"].ID)+"/mailbox.json"), `"Lists"`)
	})
}

// untidy is an object store that cannot say what crashes have left, as S3 servers without ListMultipartUploads.
type untidy struct {
	fsck.Bucket
	before []time.Time
}

func (u *untidy) Tidy(_ context.Context, before time.Time) (int, error) {
	u.before = append(u.before, before)
	return 0, errors.New("501 NotImplemented")
}

func TestStoreThatCannotBeTidiedIsSweptAndMended(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		store := &untidy{Bucket: r.objects}
		r.through = store
		lost := r.put(r.write(site.Target("bob"), "lost", "A1", "allow"))
		require.Equal(t, map[string]int64{"adopted": 1}, r.mustSweep().Orphans)
		require.NotNil(t, r.message(lost))
		state, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.False(t, state.SweptAt.IsZero())
		require.Contains(t, r.log.String(), "501 NotImplemented")

		_, problems := r.check(fsck.Request{Repair: true, MinAge: 0})
		require.Empty(t, problems)
		require.Len(t, store.before, 2)
		youngest := time.Now().Add(r.ahead - 59*time.Minute)
		require.True(t, store.before[1].Before(youngest), "uploads of deliveries under way are left alone, whatever --min-age says")
	})
}
