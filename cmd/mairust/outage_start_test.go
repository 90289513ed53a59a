package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// crash is an installation whose power was cut while its journal held what it had just acknowledged.
type crash struct {
	site  *testSite
	disk  *tortureDisk
	acked *acknowledged
	// bob is a session of his, and messages are the ids of his.
	bob      string
	messages []string
	// absent says that an object was in the journal alone. Where SQLite is on the same disk none is: the flush of its log brings all there.
	absent bool
}

// newCrash has objects, or everything, on a disk.
func newCrash(t *testing.T, backend, on string) *crash {
	t.Helper()
	c := &crash{acked: &acknowledged{}, absent: on == onlyObjects}
	c.site, c.disk = newSiteOnDisk(t, backend, on)
	daemon := c.site.start(t)
	c.bob = daemon.login(t, "bob@example.test")
	require.True(t, c.acked.send(t, c.site, "bob", bigMessage).Accepted())
	for range mutantRounds { // a checkpoint may come in between
		require.True(t, c.acked.send(t, c.site, "bob", nil).Accepted())
		c.messages = nil
		for _, m := range daemon.messages(t, "bob@example.test", "") {
			c.messages = append(c.messages, m.ID)
		}
		c.disk.cut()
		daemon.kill()
		c.disk.restore()
		if !c.absent || c.site.countObjects(t) < len(c.messages) {
			return c
		}
		daemon = c.site.start(t)
	}
	require.Fail(t, "no object was in the journal alone")
	return nil
}

// during is what holds while the disk is as it was at the start: mail waits, what is there can be read, and what is not
// there yet is nobody's damage, whoever asks for it.
func (c *crash) during(t *testing.T, daemon *process, o outage) {
	t.Helper()
	waitFor(t, "the alert of storage", func() bool { return daemon.failing("storage") })
	o.duringMail(t, c.site, c.acked)
	codes := map[int]int{}
	for _, id := range c.messages {
		code, _, body, err := daemon.ask("/api/v1/messages/"+id+"/raw", c.bob)
		require.NoError(t, err)
		require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, code, "%s", body)
		codes[code]++
	}
	assert.NotZero(t, codes[http.StatusOK], "what is there can be read")
	assert.NotZero(t, codes[http.StatusServiceUnavailable], "what is not there yet waits")
	waitFor(t, "somebody to look at what could not be read", func() bool { return strings.Contains(daemon.tail(1<<20), "message not examined") })
	out, code := c.site.fsck(t)
	assert.NotZero(t, code, out)
	assert.NotContains(t, out, "all is well")
	assert.NotContains(t, daemon.tail(1<<20), "object damaged")
	assert.False(t, daemon.failing("sweep"))
}

// after is what holds when the disk takes everything again, without a restart.
func (c *crash) after(t *testing.T, daemon *process) {
	t.Helper()
	waitFor(t, "the end of the alert", func() bool { return !daemon.failing("storage") })
	if c.absent {
		require.Positive(t, daemon.metricOf("mairust_journal_recovered_records_total"))
	}
	c.acked.check(t, daemon, "bob", "eve")
	require.False(t, daemon.failing("sweep"))
	waitFor(t, "deliveries to work again", func() bool { return c.acked.send(t, c.site, "eve", nil).Accepted() })
	out, code := c.site.fsck(t, "--verify-content")
	require.Zero(t, code, out)
	require.Contains(t, out, "all is well")
	daemon.kill()
	c.acked.check(t, c.site.start(t), "bob", "eve")
}

func TestStartOnAFullDisk(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			c := newCrash(t, backend, onlyObjects)
			free := fill(t, c.disk.dir)
			daemon := c.site.start(t)
			c.during(t, daemon, outage{code: 452, enhanced: fullDisk})
			free()
			c.after(t, daemon)
		})
	}
}

func TestStartOnADiskThatIsReadOnly(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			c := newCrash(t, backend, onlyObjects)
			require.NoError(t, c.disk.remount(unix.MS_RDONLY))
			daemon := c.site.start(t)
			c.during(t, daemon, outage{code: 451, enhanced: unavailable})
			require.NoError(t, c.disk.remount(0))
			c.after(t, daemon)
		})
	}
}

// SQLite cannot be opened then. The start waits for it, and says why.
func TestStartWhereEverythingIsOnAFullDisk(t *testing.T) {
	t.Parallel()
	c := newCrash(t, sqldb.SQLite, everything)
	free := fill(t, c.disk.dir)
	daemon := c.site.launch(t)
	t.Cleanup(daemon.kill)
	waitFor(t, "the reason", func() bool { return strings.Contains(daemon.tail(20), "database is full") })
	free()
	require.NoError(t, daemon.await())
	c.after(t, daemon)
}

func TestStartWhereEverythingIsReadOnlySaysSo(t *testing.T) {
	t.Parallel()
	c := newCrash(t, sqldb.SQLite, everything)
	require.NoError(t, c.disk.remount(unix.MS_RDONLY))
	daemon := c.site.launch(t)
	t.Cleanup(daemon.kill)
	err := daemon.await()
	require.ErrorContains(t, err, "the daemon ended at its start")
	require.ErrorContains(t, err, "read-only file system")
	require.NoError(t, c.disk.remount(0))
	c.after(t, c.site.start(t))
}
