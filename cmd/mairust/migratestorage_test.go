package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/move"
	"github.com/mairust/mairust/store/fsck"
)

func TestMailMovesToS3AndBackWhileItFlows(t *testing.T) {
	b := newBucketSite(t, labtest.MinIO(t))
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob", "eve"}})
	raw, err := os.ReadFile(site.configFile)
	require.NoError(t, err)
	base := string(raw)
	use := func(section string) {
		t.Helper()
		require.NoError(t, os.WriteFile(site.configFile, []byte(base+section), 0o600))
	}
	acked := &acknowledged{}
	daemon := site.start(t)
	for i := range 60 {
		body := bigMessage[:18*(600+i)]
		require.True(t, acked.send(t, site, []string{"bob", "eve"}[i%2], body).Accepted())
	}
	out, err := site.command(t.Context(), "migrate-storage", "--to", "s3").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "storage.previous")
	daemon.kill()

	onS3 := "{backend: s3, options: " + b.options("")
	onFiles := "{backend: fs, options: {base_path: " + site.dir + "/data/mail}"
	use("storage: " + onS3 + ", previous: " + onFiles + "}}\n")
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	require.Contains(t, site.run(t, "migrate-storage", "--to", "s3", "--dry-run"), "to copy")
	moveWhileMailFlows(t, site, acked, "s3")
	acked.check(t, daemon, "bob", "eve")
	daemon.kill()

	use("storage: " + onS3 + "}\n")
	require.NoError(t, os.Rename(site.dir+"/data/mail", site.dir+"/data/left"))
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	report, code := site.fsck(t, "--verify-content", "--min-age", "0s")
	require.Zero(t, code, report)
	daemon.kill()

	use("storage: " + onFiles + ", previous: " + onS3 + "}}\n")
	require.Contains(t, site.run(t, "migrate-storage", "--to", "fs", "--dry-run"), "to copy")
	require.NoDirExists(t, site.dir+"/data/mail/.journal", "what a command leaves there when it is killed would come back")
	daemon = site.start(t)
	moveWhileMailFlows(t, site, acked, "fs")
	daemon.kill()
	use("storage: " + onFiles + "}\n")
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	report, code = site.fsck(t, "--verify-content", "--min-age", "0s")
	require.Zero(t, code, report)
}

// moveWhileMailFlows kills the copying several times, and lets it come to its end.
func moveWhileMailFlows(t *testing.T, site *testSite, acked *acknowledged, to string) {
	t.Helper()
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for _, local := range []string{"bob", "eve"} {
		senders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					acked.send(t, site, local, nil)
				}
			}
		})
	}
	for n := range 3 {
		cmd := site.command(t.Context(), "migrate-storage", "--to", to, "--workers", "1")
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(100+150*n) * time.Millisecond) // wherever it is then
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}
	out, err := site.command(t.Context(), "migrate-storage", "--to", to, "--verify-all").Output()
	close(stop)
	senders.Wait()
	require.NoError(t, err, "%s%s", out, stderrOf(err))
	require.Contains(t, string(out), "Everything is in the new store")
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}

func TestMigrateStorageSaysWhichCommandKnowsTheRightOneOfTwo(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	tell := func() (string, error) {
		var report move.Report
		err := move.Run(t.Context(), to, from, move.Request{}, &report)
		var out bytes.Buffer
		err = (&migrateStorageOptions{}).tell(&out, &report, err)
		return out.String(), err
	}
	require.NoError(t, from.Put(t.Context(), "t/cut", strings.NewReader("con"), 3))
	require.NoError(t, to.Put(t.Context(), "t/cut", strings.NewReader("content"), 7))
	said, err := tell()
	require.ErrorIs(t, err, errSilent)
	require.Contains(t, said, "not taken over: t/cut: the two stores have different objects under this key: 7 bytes in the new one, 3 in the old one")
	require.Contains(t, said, "mairust fsck --verify-content --restart")

	require.NoError(t, from.Delete(t.Context(), "t/cut"))
	require.NoError(t, from.Put(t.Context(), "t/other", strings.NewReader("x"), 1))
	said, err = tell()
	require.NoError(t, err)
	require.NotContains(t, said, "fsck")
}

func TestMigrateStorageSaysThatAMessageHasGoneMeanwhile(t *testing.T) {
	files, err := blob.NewFS(t.TempDir(), blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, files.Close()) }()
	key := store.ObjectKey("019f6a40-0000-7000-8000-000000000001", "019f6a40-0000-7000-8000-000000000002", store.NewMessageID())
	require.NoError(t, files.Put(t.Context(), key, strings.NewReader("x"), 1))
	var report move.Report
	q := move.Request{IsMessage: fsck.IsMessage}
	require.NoError(t, move.Run(t.Context(), &removing{blob.NewMemory(), files}, files, q, &report))
	var out bytes.Buffer
	require.ErrorIs(t, (&migrateStorageOptions{}).tell(&out, &report, nil), errSilent)
	require.Contains(t, out.String(), "not taken over: "+key+": it was in the old store when the copying began")
	require.Contains(t, out.String(), goneHint)
	require.NotContains(t, out.String(), "Everything")
}

// removing removes from another store what it is asked about.
type removing struct {
	*blob.Memory
	from blob.Bucket
}

func (r *removing) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := r.from.Delete(ctx, key); err != nil {
		return blob.Info{}, err
	}
	return r.Memory.Stat(ctx, key)
}
