package fsck_test

import (
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// A database that had not heard of a new mailbox yet takes over, and later a newer dump is put back.
func TestWhatWasMovedAsideComesBackWithItsMailbox(t *testing.T) {
	const month = 31 * 24 * time.Hour
	for name, makeKnown := range map[string]func(r *rig, restore func(), site *storetest.Site){
		"its row":         func(_ *rig, restore func(), _ *storetest.Site) { restore() },
		"its mailbox":     func(r *rig, restore func(), _ *storetest.Site) { restore(); r.exec(`DELETE FROM messages`) },
		"its description": func(r *rig, _ func(), site *storetest.Site) { r.describeBob(site) },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				early := r.dump()
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				l := r.write(site.Target("bob"), "x", "Q1", "")
				r.deliver(l)
				r.putKey("stranger/note", "nobody's")
				r.putKey(store.ObjectKey(site.Tenant.ID, site.Mailboxes["bob"].ID, store.NewMessageID()), "")
				late := r.dump()
				early()
				require.Equal(t, map[string]int64{"moved": 3}, r.mustSweep().Orphans)
				require.Empty(t, r.object(l.copy.Key))

				makeKnown(r, late, site)
				r.later(month)
				swept := r.mustSweep()
				require.Equal(t, int64(1), swept.Back)
				require.Equal(t, int64(2), swept.Expired, "what is no message")
				require.Equal(t, l.raw, r.object(l.copy.Key))
				require.Empty(t, r.keys("orphan/"))
				r.mustSweep()
				require.NotNil(t, r.message(l))
			})
		})
	}
}

// describeBob writes the description of a mailbox that the database does not know.
func (r *rig) describeBob(site *storetest.Site) {
	r.t.Helper()
	tenant, box := string(site.Tenant.ID), string(site.Mailboxes["bob"].ID)
	r.putKey(tenant+"/"+box+"/mailbox.json", `{"version": 1, "tenant_id": "`+tenant+`", "tenant_name": "one", "mailbox_id": "`+box+
		`", "address": "bob@one.test", "created": "2026-11-25T12:00:00Z", "folders": [{"name": "INBOX", "uidvalidity": 7}]}`)
}

// Whatever breaks off the way back leaves the message in one place at least.
func TestTakingBackMayBeBrokenOff(t *testing.T) {
	for n := 1; ; n++ {
		r := newRig(t, "sqlite")
		early := r.dump()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "x", "Q1", "")
		r.deliver(l)
		late := r.dump()
		early()
		r.mustSweep()
		late()
		f := r.fsck()
		steps := fsck.StopAfter(f, n)
		_, err := f.Sweep(t.Context())
		if err == nil {
			require.Greater(t, n, 2, "%v", steps())
			return
		}
		require.ErrorIs(t, err, fsck.ErrStep)
		require.Contains(t, []string{r.object(l.copy.Key), r.object("orphan/" + l.copy.Key)}, l.raw)
		r.mustSweep()
		require.Equal(t, l.raw, r.object(l.copy.Key))
		require.Empty(t, r.keys("orphan/"))
	}
}

func TestAnotherInstallationBelowIsLeftAlone(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		r.sweep.MassObjects = 1
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		key := r.write(site.Target("bob"), "x", "Q1", "").copy.Key
		theirs := []string{
			"b/installation/database.json", "b/" + key, "deep/er/" + key, "b/" + string(site.Tenant.ID) + "/tenant.json",
			"b/" + string(site.Tenant.ID) + "/keys/1.age", "b/orphan/" + key,
		}
		for _, k := range theirs {
			r.putKey(k, "theirs")
		}
		r.putKey("b/note", "nobody's")
		swept := r.mustSweep()
		require.Equal(t, map[string]int64{"moved": 1}, swept.Orphans)
		require.Contains(t, r.log.String(), "another installation")
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(len(theirs)), report.Left, "%v", problems)
		for _, k := range theirs {
			require.Equal(t, "theirs", r.object(k))
		}
	})
}

// slowBucket does not give one object before it may.
type slowBucket struct {
	fsck.Bucket
	key     string
	release <-chan struct{}
	asked   sync.Once
	waits   chan struct{}
}

func (b *slowBucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == b.key {
		b.asked.Do(func() { close(b.waits) })
		select {
		case <-b.release:
		case <-ctx.Done():
			return nil, blob.Info{}, ctx.Err()
		}
	}
	return b.Bucket.Get(ctx, key, offset, n)
}

// Looking at each mailbox takes long where there are many, after each start.
func TestNewMailboxIsDescribedWhileAllAreLookedAt(t *testing.T) {
	r := newRig(t, "sqlite")
	r.ahead = 0
	site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
	old := time.Now().Add(-time.Hour).UnixMicro()
	r.exec(`UPDATE folders SET created_us = $1`, old)
	r.exec(`UPDATE mailboxes SET created_us = $1`, old)
	release := make(chan struct{})
	slow := &slowBucket{Bucket: r.objects, key: string(site.Tenant.ID) + "/" + string(site.Mailboxes["bob"].ID) + "/mailbox.json", release: release, waits: make(chan struct{})}
	r.through = slow
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	f := r.fsck()
	running.Go(func() { f.Run(ctx) })
	<-slow.waits
	eve, _, err := r.store.EnsureMailbox(t.Context(), site.Tenant.ID, mail.Address{Local: "eve", Domain: "one.test"}, "")
	require.NoError(t, err)
	key := string(site.Tenant.ID) + "/" + string(eve.ID) + "/mailbox.json"
	require.Eventually(t, func() bool { return r.existing(key) }, time.Minute, 50*time.Millisecond)
	require.False(t, r.existing(slow.key), "which waits")
	close(release)
	require.Eventually(t, func() bool { return r.existing(slow.key) }, time.Minute, 50*time.Millisecond)
	cancel()
	running.Wait()
}

func (r *rig) existing(key string) bool {
	r.t.Helper()
	_, err := r.objects.Stat(context.Background(), key)
	return err == nil
}

// keylessBucket has objects of which the key was destroyed.
type keylessBucket struct {
	fsck.Bucket
	locked string
	err    error
}

func (b *keylessBucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if strings.Contains(key, b.locked) {
		return nil, blob.Info{}, b.err
	}
	return b.Bucket.Get(ctx, key, offset, n)
}

func TestOnlyWhatNobodyWillEverReadExpiresAside(t *testing.T) {
	for _, isDescription := range []bool{false, true} {
		r := newRig(t, "sqlite")
		early := r.dump()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.put(r.write(site.Target("bob"), "x", "Q1", ""))
		late := r.dump()
		early()
		require.Equal(t, map[string]int64{"moved": 1}, r.mustSweep().Orphans)
		locked := string(l.copy.ID)
		if isDescription {
			r.describeBob(site)
			locked = "mailbox.json"
		} else {
			late()
		}
		bucket := &keylessBucket{Bucket: r.objects, locked: locked, err: blob.ErrNoKey}
		r.through = bucket
		require.Zero(t, r.mustSweep().Back)
		r.later(31 * 24 * time.Hour)
		require.Zero(t, r.mustSweep().Expired, "the operator's key may come")
		require.NotEmpty(t, r.keys("orphan/"))
		bucket.err = blob.ErrKeyDestroyed
		require.Equal(t, int64(1), r.mustSweep().Expired)
		require.NotContains(t, r.log.String(), "not settled")
	}
}

// The place of a message that was moved aside has a damaged copy, as after a restore that was cut: the whole one mends it.
func TestWhatLiesAsideMendsWhatIsDamagedInItsPlace(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		early := r.dump()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "x", "Q1", "")
		r.deliver(l)
		late := r.dump()
		early()
		require.Equal(t, map[string]int64{"moved": 1}, r.mustSweep().Orphans)
		late()
		r.putKey(l.copy.Key, strings.Repeat("?", len(l.raw)))
		r.later(31 * 24 * time.Hour)
		swept := r.mustSweep()
		require.Zero(t, swept.Back+swept.Expired, "it outlives the sweep that has mended")
		require.Equal(t, l.raw, r.object(l.copy.Key))
		require.Equal(t, l.raw, r.object("orphan/"+l.copy.Key))
		swept = r.mustSweep()
		require.Equal(t, int64(1), swept.Back)
		require.Zero(t, swept.Expired)
		require.Equal(t, l.raw, r.object(l.copy.Key))
		require.Empty(t, r.keys("orphan/"))
	})
}

func TestWhatLiesAsideExpiresWhenTheRightOneIsInItsPlace(t *testing.T) {
	r := newRig(t, "sqlite")
	early := r.dump()
	site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
	l := r.write(site.Target("bob"), "x", "Q1", "")
	r.deliver(l)
	late := r.dump()
	r.damage(l.copy.Key, func(b []byte) []byte { b[9] ^= 1; return b })
	early()
	require.Equal(t, map[string]int64{"moved": 1}, r.mustSweep().Orphans)
	late()
	r.put(l)
	require.Zero(t, r.mustSweep().Back)
	r.later(31 * 24 * time.Hour)
	require.Equal(t, int64(1), r.mustSweep().Expired)
	require.Equal(t, l.raw, r.object(l.copy.Key))
}

// settingBucket has the clock set while objects are listed.
type settingBucket struct {
	fsck.Bucket
	set func()
}

func (b *settingBucket) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		b.Bucket.List(ctx, prefix)(yield)
		b.set()
	}
}

// What lies aside for 30 days may be mail of a mailbox that the database has forgotten: a wrong clock must not end that.
func TestAClockThatIsWrongRemovesNothingFromAside(t *testing.T) {
	const month = 31 * 24 * time.Hour
	onEach(t, func(t *testing.T, r *rig) {
		nobody := storetest.NewSite(t, r.store, "one", "one.test", "bob").Target("bob")
		nobody.Mailbox = store.MailboxID(store.NewMessageID())
		r.put(r.write(nobody, "acknowledged", "Q1", ""))
		require.Equal(t, map[string]int64{"moved": 1}, r.mustSweep().Orphans)
		right := r.ahead
		for range 2 { // ahead for a minute, and right again
			r.ahead = right + month
			require.Zero(t, r.mustSweep().Expired)
			require.Contains(t, r.log.String(), "kept until the next sweep")
			r.ahead = right
			require.Zero(t, r.mustSweep().Expired)
		}
		aside := filepath.Join(r.base, r.keys("orphan/")[0])
		moved, err := os.Stat(aside)
		require.NoError(t, err)
		require.NoError(t, os.Chtimes(aside, time.Time{}, time.Unix(1000, 0)))
		r.later(time.Hour)
		require.Zero(t, r.mustSweep().Expired, "moved while the clock was at 1970")
		require.Contains(t, r.log.String(), "messages below orphan/ never expire")

		require.NoError(t, os.Chtimes(aside, time.Time{}, moved.ModTime()))
		r.ahead = right
		r.mustSweep()
		r.ahead += time.Hour
		objects := r.through
		r.through = &settingBucket{Bucket: objects, set: func() { r.ahead = right + month }}
		require.Zero(t, r.mustSweep().Expired, "it is set during a sweep")
		r.through = objects
		r.ahead = right + month
		require.Zero(t, r.mustSweep().Expired, "the first sweep after a month")
		r.ahead += 24 * time.Hour
		require.Equal(t, int64(1), r.mustSweep().Expired)
	})
}

func TestWhatNeverExpiresIsToldOnceASweep(t *testing.T) {
	const told = "messages below orphan/ never expire"
	onEach(t, func(t *testing.T, r *rig) {
		nobody := storetest.NewSite(t, r.store, "one", "one.test", "bob").Target("bob")
		nobody.Mailbox = store.MailboxID(store.NewMessageID())
		var slow []string
		for range 2 {
			slow = append(slow, "orphan/"+r.put(r.write(nobody, "moved while the clock was slow", "", "")).copy.Key)
		}
		r.put(r.write(nobody, "moved while it was right", "", ""))
		empty := store.ObjectKey(nobody.Tenant, nobody.Mailbox, store.NewMessageID())
		r.putKey(empty, "")
		require.Equal(t, map[string]int64{"moved": 4}, r.mustSweep().Orphans)
		require.NotContains(t, r.log.String(), told)

		r.setTimes(time.Unix(1000, 0), append(slow, "orphan/"+empty)...)
		require.Equal(t, int64(1), r.mustSweep().Expired, "the empty one, which is no message")
		require.Equal(t, 1, strings.Count(r.log.String(), told))
		require.Contains(t, r.log.String(), "objects=2 key=orphan/")
		r.later(31 * 24 * time.Hour)
		require.Equal(t, int64(1), r.mustSweep().Expired)
		require.Equal(t, 2, strings.Count(r.log.String(), told))

		r.setTimes(time.Now().Add(r.ahead), slow...) // as touch does
		require.Zero(t, r.mustSweep().Expired)
		r.later(31 * 24 * time.Hour)
		require.Equal(t, int64(2), r.mustSweep().Expired)
		require.Equal(t, 2, strings.Count(r.log.String(), told))
	})
}

func (r *rig) setTimes(at time.Time, keys ...string) {
	r.t.Helper()
	for _, key := range keys {
		require.NoError(r.t, os.Chtimes(filepath.Join(r.base, key), time.Time{}, at))
	}
}

// emptyBucket answers some readings of an object with nothing, as a server whose answer is 200 without a body.
type emptyBucket struct {
	fsck.Bucket
	key string
	// from and to are the first reading that is empty, and the one after the last; reads counts them.
	from, to, reads int
}

func (b *emptyBucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	r, info, err := b.Bucket.Get(ctx, key, offset, n)
	if err != nil || key != b.key {
		return r, info, err
	}
	b.reads++
	if b.reads < b.from || b.reads >= b.to {
		return r, info, err
	}
	info.SizeBytes = 0
	return io.NopCloser(strings.NewReader("")), info, r.Close()
}

// What is moved aside, or taken back, is read in two places and removed in one.
func TestNothingIsRemovedForACopyThatIsNotTheSame(t *testing.T) {
	const forEver = 1000
	for name, lies := range map[string]emptyBucket{
		"the first reading": {from: 1, to: 2}, "the second": {from: 2, to: 3}, "each": {from: 1, to: forEver},
	} {
		for _, encrypted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, "sqlite")
				early := r.dump()
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				l := r.put(r.write(site.Target("bob"), "x", "Q1", ""))
				late := r.dump()
				early()
				bucket := lies
				bucket.Bucket, bucket.key = r.objects, l.copy.Key
				r.lying(&bucket, encrypted)
				_, _ = r.fsck().Sweep(t.Context()) // it may say that it could not
				bucket.from = forEver
				require.Contains(t, []string{r.object(l.copy.Key), r.object("orphan/" + l.copy.Key)}, l.raw)
				r.mustSweep()
				require.Equal(t, l.raw, r.object("orphan/"+l.copy.Key), "when the store tells the truth it is moved")
				require.Empty(t, r.object(l.copy.Key))

				late()
				bucket = lies
				bucket.Bucket, bucket.key, bucket.reads = r.objects, "orphan/"+l.copy.Key, 0
				r.lying(&bucket, encrypted)
				_, _ = r.fsck().Sweep(t.Context())
				bucket.from = forEver
				require.Contains(t, []string{r.object(l.copy.Key), r.object("orphan/" + l.copy.Key)}, l.raw)
				r.mustSweep()
				require.Equal(t, l.raw, r.object(l.copy.Key))
			})
		}
	}
}

// lying has the rig read through a bucket, with encryption on top for what is new.
func (r *rig) lying(b fsck.Bucket, encrypted bool) {
	r.t.Helper()
	r.through = b
	if !encrypted {
		return
	}
	operator, err := age.GenerateX25519Identity()
	require.NoError(r.t, err)
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.store, Backend: b, Recipients: []age.Recipient{operator.Recipient()}, Operator: []age.Identity{operator},
	})
	r.through = crypt.New(crypt.Options{Backend: b, Keys: keys, Encrypt: true})
}
