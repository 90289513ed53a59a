package alert_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
)

// process is one of several on a host, each of which watches a disk of the host and listeners of its own.
type process struct {
	disk, listeners *breakable
	// chatter are parts that nobody else watches.
	chatter []*breakable
	turns   string
	sink    *sink
	log     *bytes.Buffer
	// end stops it.
	end func()
}

// newProcess starts one; it runs until the test within its bubble ends.
func newProcess(t *testing.T, turns, watches string) *process {
	t.Helper()
	p := &process{disk: &breakable{}, listeners: &breakable{}, turns: turns, sink: &sink{}, log: &bytes.Buffer{}}
	parts := []alert.Part{{Name: "disk", Check: p.disk.check, Shared: watches}, {Name: "listeners", Check: p.listeners.check}}
	for i := range 3 {
		p.chatter = append(p.chatter, &breakable{})
		parts = append(parts, alert.Part{Name: fmt.Sprint("chatter", i), Check: p.chatter[i].check})
	}
	w := alert.New(alert.Options{}, alert.Deps{Sink: p.sink, TurnDir: turns, Log: slog.New(slog.NewTextHandler(p.log, nil))}, parts...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	p.end = func() { cancel(); <-ended }
	return p
}

// host runs a test with three processes.
func host(t *testing.T, test func(t *testing.T, all []*process)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "alerts")
	synctest.Test(t, func(t *testing.T) {
		all := []*process{newProcess(t, dir, "/var"), newProcess(t, dir, "/var"), newProcess(t, dir, "/var")}
		test(t, all)
		for _, p := range all {
			p.end()
		}
	})
}

// told counts the notices about a part, by all processes.
func told(all []*process, part string) int {
	count := 0
	for _, p := range all {
		count += p.sink.sentOf(part)
	}
	return count
}

// teller is the process that wrote about the disk.
func teller(t *testing.T, all []*process) (one *process, others []*process) {
	t.Helper()
	for _, p := range all {
		if p.sink.sentOf("disk") > 0 {
			require.Nil(t, one)
			one = p
		} else {
			others = append(others, p)
		}
	}
	require.NotNil(t, one)
	return one, others
}

func setDisk(err error, processes ...*process) {
	for _, p := range processes {
		p.disk.set(err)
	}
}

func TestOneProcessOfAHostTellsOfWhatAllWatch(t *testing.T) {
	host(t, func(t *testing.T, all []*process) {
		setDisk(errGone, all...)
		for _, p := range all {
			p.listeners.set(errGone)
		}
		pass(time.Hour)
		require.Equal(t, 1, told(all, "disk"))
		require.Equal(t, 3, told(all, "listeners"), "each has its own")
		one, others := teller(t, all)
		setDisk(nil, one)
		pass(5 * time.Minute) // the others see it a little later
		setDisk(nil, others...)
		pass(time.Hour)
		require.Equal(t, 2, told(all, "disk"))
		require.Equal(t, 2, one.sink.sentOf("disk"), "who told of the failure tells of its end")
	})
}

func TestWhatOneProcessAloneFindsIsTold(t *testing.T) {
	host(t, func(t *testing.T, all []*process) {
		setDisk(errGone, all[2])
		pass(time.Hour)
		require.Equal(t, 1, all[2].sink.sentOf("disk"))
		setDisk(errGone, all...)
		setDisk(nil, all[2]) // for it alone it is over
		pass(time.Hour)
		require.Equal(t, 2, all[2].sink.sentOf("disk"))
		require.Equal(t, 3, told(all, "disk"), "one of the others tells that it is not")
	})
}

func TestAProcessThatWatchesMoreTellsOfThatToo(t *testing.T) {
	host(t, func(t *testing.T, all []*process) {
		more := newProcess(t, all[0].turns, "/var, /var/mail")
		setDisk(errGone, all...)
		pass(time.Hour)
		require.Equal(t, 1, told(all, "disk"))
		setDisk(errGone, more)
		pass(time.Hour)
		require.Equal(t, 1, more.sink.sentOf("disk"), "nobody else sees it")
		more.end()
	})
}

// One that has told as much of another part today as may be leaves the telling to the others.
func TestAProcessThatMayNotTellKeepsNobodyFromIt(t *testing.T) {
	host(t, func(t *testing.T, all []*process) {
		full := all[0]
		for _, part := range full.chatter {
			for range 8 {
				part.set(errGone)
				pass(15 * time.Minute)
				part.set(nil)
				pass(15 * time.Minute)
			}
		}
		setDisk(errGone, full)
		pass(time.Hour)
		require.Zero(t, full.sink.sentOf("disk"))
		setDisk(errGone, all...)
		pass(time.Hour)
		require.Equal(t, 1, told(all[1:], "disk"))
	})
}

func TestAfterTheEndOfAProcessAnotherTells(t *testing.T) {
	host(t, func(t *testing.T, all []*process) {
		setDisk(errGone, all...)
		pass(time.Hour)
		one, others := teller(t, all)
		one.end()
		pass(time.Minute)
		setDisk(nil, all...)
		pass(time.Hour)
		require.Equal(t, 2, told(others, "disk"), "or nobody would tell of the end")
	})
}

func TestWithoutTurnsEachProcessTells(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for turns, warns := range map[string]bool{"": false, filepath.Join(file, "alerts"): true} {
		synctest.Test(t, func(t *testing.T) {
			p := newProcess(t, turns, "/var")
			setDisk(errGone, p)
			pass(time.Hour)
			assert.Equal(t, 1, p.sink.sentOf("disk"))
			p.end()
			assert.Equal(t, warns, bytes.Contains(p.log.Bytes(), []byte("this one does")))
		})
	}
}
