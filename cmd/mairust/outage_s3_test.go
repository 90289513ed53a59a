package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// impatient lets a test see the end of the daemon's patience.
const impatient = ", request_timeout: 1s, attempts: 2"

func TestBadDaysOfTheObjectServer(t *testing.T) {
	for name, f := range map[string]lab.Fault{
		"down":                 {Down: true},
		"slow to answer":       {Delay: 5 * time.Second},
		"200 after a time-out": {Hold: true},
		"answers are lost":     {Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucketSite(t, labtest.MinIO(t))
			outage{
				site: b.site("sqlite", impatient), part: "storage", code: 451, enhanced: unavailable, lists: true, message: bigMessage,
				begin: func(*testing.T, *process, *acknowledged) func() {
					b.proxy.Set(f)
					return func() { b.proxy.Set(lab.Fault{}) }
				},
			}.run(t)
		})
	}
}

func TestObjectServerThatStopsAndStarts(t *testing.T) {
	m := labtest.OwnMinIO(t, lab.MinIOOptions{})
	b := newBucketSite(t, m)
	outage{
		site: b.site("sqlite", impatient), part: "storage", code: 451, enhanced: unavailable, lists: true,
		begin: func(t *testing.T, _ *process, _ *acknowledged) func() {
			m.Stop()
			return func() { assert.NoError(t, m.Start(t.Context())) }
		},
	}.run(t)
}

// Nothing altered or short is ever shown, and the metadata stays readable; mail comes in all the while.
func TestObjectServerThatLies(t *testing.T) {
	isGet := func(r *http.Request) bool { return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".eml") }
	for name, f := range map[string]lab.Fault{
		"other bytes": {Alter: true, Only: isGet}, "short body": {Truncate: true, Only: isGet}, "broken answer": {Break: true, Only: isGet},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucketSite(t, labtest.MinIO(t))
			o := b.site("sqlite", impatient)
			o.Mailboxes = []string{"bob", "eve"}
			site := newTestSite(t, o)
			daemon := site.start(t)
			acked := &acknowledged{}
			require.True(t, acked.send(t, site, "bob", bigMessage).Accepted())
			stored := daemon.messages(t, "bob@example.test", "")[0]
			bob := daemon.login(t, "bob@example.test")
			b.proxy.Set(f)
			outage{lists: true}.duringReads(t, daemon, bob, stored.ID)
			require.True(t, acked.send(t, site, "eve", bigMessage).Accepted(), "mail comes in")
			b.proxy.Set(lab.Fault{})
			acked.check(t, daemon, "bob", "eve")
		})
	}
}

// At 1 KB/s small messages go on, and so does the probe of the alert.
func TestObjectServerThatDrips(t *testing.T) {
	b := newBucketSite(t, labtest.MinIO(t))
	o := b.site("sqlite", ", request_timeout: 1s, attempts: 2")
	o.Mailboxes = []string{"bob", "eve"}
	site := newTestSite(t, o)
	daemon := site.start(t)
	acked := &acknowledged{}
	require.True(t, acked.send(t, site, "bob", bigMessage).Accepted())
	stored := daemon.messages(t, "bob@example.test", "")[0]
	bob := daemon.login(t, "bob@example.test")
	b.proxy.Set(lab.Fault{BytesPerSecond: 1000})
	slow := outage{code: 451, enhanced: unavailable, lists: true, message: bigMessage}
	slow.duringMail(t, site, acked)
	slow.duringReads(t, daemon, bob, stored.ID)
	require.True(t, acked.send(t, site, "eve", nil).Accepted(), "a small message comes through")
	b.proxy.Set(lab.Fault{})
	require.True(t, acked.send(t, site, "bob", bigMessage).Accepted())
	acked.check(t, daemon, "bob", "eve")
}
