package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// mountNew makes a directory with a file system of its own, for the time of the test.
func mountNew(t *testing.T, dir, size string) {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("SKIPPED: mounting a small file system needs root")
	}
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

// chownLike gives dir the owner of another.
func chownLike(dir, other string) error {
	var st unix.Stat_t
	if err := unix.Stat(other, &st); err != nil {
		return err
	}
	return os.Chown(dir, int(st.Uid), int(st.Gid))
}

// fill uses up the space of a file system, and returns what gives it back. A file that grows leaves blocks on ext4 that another one can still have,
// because it needs one of its own to say where it goes on.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	var fillers []string
	for more := true; more; {
		f, err := os.CreateTemp(dir, "filler")
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		require.NoError(t, err)
		fillers = append(fillers, f.Name())
		more = fillAndClose(t, f)
	}
	return func() {
		for _, path := range fillers {
			assert.NoError(t, os.Remove(path))
		}
	}
}

func fillAndClose(t *testing.T, f *os.File) (wrote bool) {
	t.Helper()
	defer func() { assert.NoError(t, f.Close()) }() // also when the test ends here: the disk could not be unmounted
	return fillFile(t, f)
}

// fillFile writes until there is no space, to the last block, also of those that are set aside until the file is flushed. It says whether anything was written.
func fillFile(t *testing.T, f *os.File) (wrote bool) {
	t.Helper()
	for _, piece := range []int64{64 << 10, 512} {
		for n := int64(1); n > 0; wrote = wrote || n > 0 {
			var err error
			n, err = io.CopyBuffer(struct{ io.Writer }{f}, zeros{}, make([]byte, piece))
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.NoError(t, f.Sync())
		}
	}
	return wrote
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// bigMessage is too big for what groups small ones.
var bigMessage = []byte(strings.Repeat("0123456789abcdef\r\n", 20_000))

// onSQLite are a site with its parts in directories of their own below the site's, which each test replaces.
func onSQLite() siteOptions { return siteOptions{Backend: "sqlite"} }

func TestSQLiteDiskFull(t *testing.T) {
	t.Parallel()
	outage{
		site: onSQLite(), part: "database", code: 452, enhanced: fullDisk, lists: true, bodies: true,
		before: func(t *testing.T, s *testSite) { moveDatabase(t, s) },
		begin: func(t *testing.T, p *process, acked *acknowledged) func() {
			free := fill(t, filepath.Join(p.site.dir, "db"))
			requireFewObjects(t, p, acked)
			return free
		},
	}.run(t)
}

// requireFewObjects sends again and again, as Postfix does, what cannot be committed: each attempt would leave an object.
func requireFewObjects(t *testing.T, p *process, acked *acknowledged) {
	t.Helper()
	const attempts = 200
	for range attempts {
		require.False(t, acked.send(t, p.site, "bob", nil).Accepted())
	}
	require.Less(t, p.site.countObjects(t), attempts/2, "they are refused before they are stored")
}

// countObjects counts the files under objects' names.
func (s *testSite) countObjects(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "data", "mail", "*", "*", "*.eml"))
	require.NoError(t, err)
	return len(found)
}

// moveDatabase moves the SQLite file to a small file system of its own.
func moveDatabase(t *testing.T, s *testSite) {
	t.Helper()
	dir := filepath.Join(s.dir, "db")
	mountNew(t, dir, "16m")
	old := filepath.Join(s.dir, "data", "mairust.db")
	raw, err := os.ReadFile(old)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mairust.db"), raw, 0o600))
	s.change(t, "database: {backend: sqlite}", "database: {backend: sqlite, path: "+dir+"/mairust.db}")
}

// change edits the configuration file.
func (s *testSite) change(t *testing.T, old, new string) {
	t.Helper()
	raw, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	require.Contains(t, string(raw), old)
	require.NoError(t, os.WriteFile(s.configFile, []byte(strings.Replace(string(raw), old, new, 1)), 0o600))
}

func TestSQLiteFileThatCannotBeWritten(t *testing.T) {
	for name, fault := range map[string]string{"read-only": "EROFS", "failing disk": "EIO"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outage{
				site: onSQLite(), part: "database", code: 451, enhanced: unavailable, lists: true, bodies: true,
				begin: func(t *testing.T, p *process, _ *acknowledged) func() {
					wal := filepath.Join(p.site.dir, "data", "mairust.db-wal")
					return labtest.Inject(t, p.cmd.Process.Pid, "-P", wal, "-e", "inject=pwrite64,ftruncate,fsync,fdatasync:error="+fault)
				},
			}.run(t)
		})
	}
}

func TestObjectStoreDiskFull(t *testing.T) {
	onTmpfs := func(t *testing.T, s *testSite) { mountNew(t, filepath.Join(s.dir, "data", "mail"), "160m") }
	onExt4 := func(t *testing.T, s *testSite) { newTortureDisk(t, filepath.Join(s.dir, "data", "mail"), 160<<20) }
	for _, backend := range storetest.Backends() {
		o := outage{
			site: siteOptions{Backend: backend}, part: "storage", code: 452, enhanced: fullDisk, lists: true, bodies: true,
			begin: func(t *testing.T, p *process, _ *acknowledged) func() { return fillObjects(t, p) },
		}
		t.Run(backend+", flushed by itself", func(t *testing.T) {
			t.Parallel()
			big := o
			big.message, big.before = bigMessage, onTmpfs
			big.run(t)
		})
		t.Run(backend+", through the journal", func(t *testing.T) { // on PostgreSQL beside the row
			t.Parallel()
			small := o
			small.before = onExt4
			small.run(t)
		})
	}
}

// fillObjects fills the disk of the objects of a daemon that checks it often, to the last block: the file of a check that was under way is gone
// when the alert comes, and no later one writes any.
func fillObjects(t *testing.T, p *process) (free func()) {
	t.Helper()
	mail := filepath.Join(p.site.dir, "data", "mail")
	freeMost := fill(t, mail)
	waitFor(t, "the alert of storage", func() bool { return p.failing("storage") })
	freeRest := fill(t, mail)
	return func() { freeMost(); freeRest() }
}

func TestObjectStoreThatCannotBeWritten(t *testing.T) {
	for name, fault := range map[string]string{"read-only": "EROFS", "failing disk": "EIO", "not permitted": "EACCES"} {
		o := outage{
			site: onSQLite(), part: "storage", code: 451, enhanced: unavailable, lists: true, bodies: true, message: bigMessage,
			begin: func(t *testing.T, p *process, _ *acknowledged) func() {
				return labtest.Inject(t, p.cmd.Process.Pid, "-e", "inject=linkat:error="+fault)
			},
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.run(t)
		})
		t.Run(name+", through the journal, beside the row", func(t *testing.T) {
			t.Parallel()
			small := o
			small.site, small.message = siteOptions{Backend: sqldb.Postgres}, nil
			small.run(t)
		})
	}
}

func TestObjectsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	outage{
		site: onSQLite(), part: "storage", code: 451, enhanced: unavailable, lists: true, message: bigMessage,
		begin: func(t *testing.T, p *process, _ *acknowledged) func() {
			// Whatever is below the store's directory fails, as on a disk that was pulled out.
			return labtest.Inject(t, p.cmd.Process.Pid, "-P", filepath.Join(p.site.dir, "data", "mail"), "-e", "inject=openat,linkat,fstatfs,fdatasync,fsync:error=EIO")
		},
	}.run(t)
}

func TestSpoolDiskFull(t *testing.T) {
	t.Parallel()
	outage{
		site: onSQLite(), part: "disk", code: 452, enhanced: fullDisk, lists: true, bodies: true, message: bigMessage,
		before: func(t *testing.T, s *testSite) {
			s.change(t, "lmtp:\n", "lmtp:\n  spool_memory_bytes: 4096\n")
			mountNew(t, filepath.Join(s.dir, "data", "spool"), "8m")
		},
		begin: func(t *testing.T, p *process, _ *acknowledged) func() {
			return fill(t, filepath.Join(p.site.dir, "data", "spool"))
		},
	}.run(t)
}

func TestDiskIsReportedBeforeItIsFull(t *testing.T) {
	t.Parallel()
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"},
		Extra: "alert: {check_every: 200ms, returned_after: 1s, disk_free_percent: 50, disk_free_bytes: 4096}\n"})
	data := filepath.Join(site.dir, "data")
	mountSmall(t, data, "256m")
	daemon := site.start(t)
	acked := &acknowledged{}
	waitFor(t, "the first look", func() bool { return status(t, daemon.ops+"/health/ready") == http.StatusOK })
	require.False(t, daemon.failing("disk"))
	ballast := filepath.Join(data, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 130<<20), 0o600))
	waitFor(t, "the alert", func() bool { return daemon.failing("disk") })
	assert.Equal(t, http.StatusOK, status(t, daemon.ops+"/health/ready"), "mail flows")
	assert.True(t, acked.send(t, site, "bob", nil).Accepted())
	require.NoError(t, os.Remove(ballast))
	waitFor(t, "the end of the alert", func() bool { return !daemon.failing("disk") })
}

func TestUnmountedStoreTakesMailThatIsThereWhenItIsMountedAgain(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob", "eve"}, Extra: quickAlerts})
	mail, disk := filepath.Join(site.dir, "data", "mail"), filepath.Join(site.dir, "disk")
	require.NoError(t, os.MkdirAll(disk, 0o700))
	require.NoError(t, os.MkdirAll(mail, 0o700))
	mount := func() {
		t.Helper()
		err := unix.Mount(disk, mail, "", unix.MS_BIND, "")
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
			t.Skip("SKIPPED: mounting needs root")
		}
		require.NoError(t, err)
	}
	mount()
	daemon := site.start(t)
	acked := &acknowledged{}
	require.True(t, acked.send(t, site, "bob", nil).Accepted())
	require.NoError(t, unix.Unmount(mail, unix.MNT_DETACH))
	for range 3 {
		require.True(t, acked.send(t, site, "eve", bigMessage).Accepted(), "the daemon has the disk open")
		require.True(t, acked.send(t, site, "eve", nil).Accepted(), "so has its journal")
	}
	waitFor(t, "the alert", func() bool { return daemon.failing("mounts") })
	mount()
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mail, unix.MNT_DETACH)) })
	waitFor(t, "the end of the alert", func() bool { return !daemon.failing("mounts") })
	acked.check(t, daemon, "bob", "eve")
	daemon.kill()
	acked.check(t, site.start(t), "bob", "eve")
}
