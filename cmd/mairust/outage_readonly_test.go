package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// An administrator remounts the disk of the objects. The kernel lets him while no file is open for writing: before the first small message has
// made a segment of the journal, or without one.
func TestObjectStoreRemountedReadOnlyAndBack(t *testing.T) {
	for _, backend := range storetest.Backends() {
		for name, o := range map[string]outage{
			"with a journal":    {message: bigMessage},
			"without a journal": {site: siteOptions{Extra: "storage: {options: {journal: \"off\"}}\n"}},
		} {
			t.Run(backend+", "+name, func(t *testing.T) {
				t.Parallel()
				var disk *tortureDisk
				o.site.Backend = backend
				o.part, o.code, o.enhanced, o.lists, o.bodies = "storage", 451, unavailable, true, true
				o.before = func(t *testing.T, s *testSite) {
					disk = newTortureDisk(t, filepath.Join(s.dir, "data", "mail"), crashDiskBytes)
				}
				o.begin = func(t *testing.T, _ *process, _ *acknowledged) func() {
					waitFor(t, "the end of a check of the disk", func() bool { return disk.remount(unix.MS_RDONLY) == nil })
					return func() { require.NoError(t, disk.remount(0)) }
				}
				o.run(t)
			})
		}
	}
}

// ext4 makes itself read-only when its own journal fails, whoever has files open, and takes nothing again until it is mounted anew: the daemon goes on
// with what can be read, and is started again by whoever mends the disk.
func TestDiskThatBecomesReadOnlyByItself(t *testing.T) {
	for name, on := range map[string]struct{ backend, part string }{
		"objects, sqlite": {sqldb.SQLite, onlyObjects}, "objects, postgres": {sqldb.Postgres, onlyObjects}, "everything": {sqldb.SQLite, everything},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site, disk := newSiteOnDisk(t, on.backend, on.part)
			daemon, acked := site.start(t), &acknowledged{}
			for _, message := range [][]byte{nil, bigMessage} {
				require.True(t, acked.send(t, site, "bob", message).Accepted())
			}
			list, bob := daemon.messages(t, "bob@example.test", ""), daemon.login(t, "bob@example.test")
			disk.fail()
			waitFor(t, "the alert", func() bool { return daemon.failing("storage") })
			for _, message := range [][]byte{nil, bigMessage} {
				o := outage{code: 451, enhanced: unavailable, lists: true, bodies: true, message: message}
				o.duringMail(t, site, acked)
				for _, m := range list {
					o.duringReads(t, daemon, bob, m.ID)
				}
			}
			daemon.kill()
			disk.restore()
			daemon = site.start(t)
			acked.check(t, daemon, "bob", "eve")
			require.True(t, acked.send(t, site, "eve", nil).Accepted())
		})
	}
}

const (
	onlyObjects = "objects"
	everything  = "everything"
)

// crashDiskBytes has room for what a store wants to be free.
const crashDiskBytes = 160 << 20

// newSiteOnDisk has objects on a disk of their own, or everything on one.
func newSiteOnDisk(t *testing.T, backend, part string) (site *testSite, disk *tortureDisk) {
	t.Helper()
	options := siteOptions{Backend: backend, Dir: labtest.ShortDir(t), Mailboxes: []string{"bob", "eve"}, Extra: quickAlerts}
	if part == everything {
		disk = newTortureDisk(t, filepath.Join(options.Dir, "data"), crashDiskBytes)
	}
	site = newTestSite(t, options)
	if part == onlyObjects {
		disk = newTortureDisk(t, filepath.Join(site.dir, "data", "mail"), crashDiskBytes)
	}
	return site, disk
}
