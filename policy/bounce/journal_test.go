package bounce_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/policy/bounce"
)

// journalFeed is a feed that reads a journal, which is a file of JSON lines behind a stand-in for journalctl.
type journalFeed struct {
	*feed
	n int
}

func newJournalFeed(t *testing.T) *journalFeed {
	t.Helper()
	f := newFeed(t)
	f.log = filepath.Join(filepath.Dir(f.log), "journal")
	script, err := os.ReadFile("testdata/journalctl")
	require.NoError(t, err)
	program := filepath.Join(filepath.Dir(f.log), "journalctl")
	require.NoError(t, os.WriteFile(program, script, 0o700))
	f.options = bounce.Options{Journal: true, Journalctl: program, Host: "mx1.example.test"}
	f.deps.Every = 20 * time.Millisecond
	return &journalFeed{feed: f}
}

// entry writes an entry with the values of some fields, any JSON.
func (f *journalFeed) entry(fields map[string]any) {
	f.t.Helper()
	f.n++
	all := map[string]any{"SYSLOG_IDENTIFIER": "postfix/smtp", "_HOSTNAME": "mx1", "__MONOTONIC_TIMESTAMP": "1", "_BOOT_ID": "b"}
	for k, v := range fields {
		all[k] = v
	}
	raw, err := json.Marshal(all)
	require.NoError(f.t, err)
	// The stand-in looks for these two as text.
	head := fmt.Sprintf(`{"__CURSOR":"s=7;i=%d","__REALTIME_TIMESTAMP":"%d",`, f.n, 1_800_000_000_000_000+int64(f.n)*1_000_000)
	f.write(f.log, head+string(raw[1:]))
}

func (f *journalFeed) bounced(id string) { f.entry(map[string]any{"MESSAGE": id + ": " + refused}) }

func (f *journalFeed) calls() []string {
	f.t.Helper()
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(f.log), "calls"))
	require.NoError(f.t, err)
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

func TestJournalIsReadFromTheCursor(t *testing.T) {
	f := newJournalFeed(t)
	f.deps.FromStart = true
	f.bounced("AAAAA1")
	f.bounced("AAAAA2")
	assert.Equal(t, []string{"AAAAA1", "AAAAA2"}, f.once())
	assert.Empty(t, f.once())
	f.bounced("AAAAA3")
	assert.Equal(t, []string{"AAAAA3"}, f.once())
	assert.Contains(t, f.calls()[2], "--after-cursor=s=7;i=2")
	assert.Equal(t, time.Unix(1_800_000_003, 0).UTC(), f.sink.got[2].At.UTC())
}

func TestEntriesOfTheJournalInEveryForm(t *testing.T) {
	f := newJournalFeed(t)
	f.deps.FromStart = true
	f.deps.Registerer = prometheus.NewRegistry()
	numbers := []int{}
	for _, c := range []byte("BBBBB1: " + strings.Replace(refused, "said:", "said:\x07\xff", 1)) {
		numbers = append(numbers, int(c))
	}
	f.entry(map[string]any{"MESSAGE": numbers})                                                                        // not printable
	f.entry(map[string]any{"MESSAGE": nil})                                                                            // too large
	f.entry(map[string]any{"MESSAGE": []string{"BBBBB2: " + refused, "x"}})                                            // several values
	f.entry(map[string]any{"MESSAGE": "BBBBB3: " + refused, "SYSLOG_IDENTIFIER": "postfix/smtpd"})                     // a stranger's
	f.entry(map[string]any{"MESSAGE": "BBBBB4: " + refused, "SYSLOG_IDENTIFIER": []string{"postfix/smtp", "x"}})       // odd
	f.entry(map[string]any{"MESSAGE": "BBBBB5: " + refused + strings.Repeat("x", 300_000), "_HOSTNAME": "mx1"})        // longer than is read
	f.entry(map[string]any{"MESSAGE": "BBBBB6: " + refused, "SYSLOG_IDENTIFIER": "postfix-out/smtp", "__SEQNUM": "9"}) // of a newer systemd
	assert.Equal(t, []string{"BBBBB1", "BBBBB6"}, f.once())
	assert.InDelta(t, 1, f.metric("mairust_bounce_dropped_total/too_long"), 0)
}

func TestJournalIsFollowed(t *testing.T) {
	f := newJournalFeed(t)
	f.bounced("AAAAA0")
	ctx, cancel := context.WithCancel(t.Context())
	follower, ended := f.follower(), make(chan struct{})
	go func() { defer close(ended); follower.Run(ctx) }()
	started := func(context.Context) error {
		if raw, err := os.ReadFile(filepath.Join(filepath.Dir(f.log), "calls")); err != nil || !strings.Contains(string(raw), "--lines=0") {
			return fmt.Errorf("not started: %w", err)
		}
		return nil
	}
	require.NoError(t, lab.Eventually(t.Context(), started))
	got := func(context.Context) error {
		f.bounced(fmt.Sprintf("CCCCC%d", f.n))
		if len(f.sink.ids()) < 3 {
			return fmt.Errorf("%d bounces", len(f.sink.ids()))
		}
		return nil
	}
	require.NoError(t, lab.Eventually(t.Context(), got))
	cancel()
	<-ended
	assert.NotContains(t, f.sink.ids(), "AAAAA0", "it was there before")
	require.NoError(t, follower.Check(t.Context()))
}

func TestCursorThatIsNotKnownAnyMoreIsAGap(t *testing.T) {
	f := newJournalFeed(t)
	f.deps.FromStart = true
	f.bounced("AAAAA1")
	f.bounced("AAAAA2")
	require.Len(t, f.once(), 2)
	require.NoError(t, os.Remove(f.log)) // vacuumed
	f.n = 2
	f.bounced("AAAAA3")
	f.deps.Registerer = prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	follower, ended := f.follower(), make(chan struct{})
	go func() { defer close(ended); follower.Run(ctx) }()
	require.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
		if ids := f.sink.ids(); len(ids) < 3 {
			return fmt.Errorf("got %v", ids)
		}
		return nil
	}))
	cancel()
	<-ended
	assert.Equal(t, "AAAAA3", f.sink.ids()[2])
	assert.InDelta(t, 1, f.metric("mairust_bounce_dropped_total/gap"), 0)
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"__CURSOR":"s=7;i=1","__REALTIME_TIMESTAMP":"1800000000000000","MESSAGE":"AAAAA1: to=<a@x>, relay=none, dsn=5.1.1, status=bounced (x)","SYSLOG_IDENTIFIER":"postfix/smtp","_HOSTNAME":"mx1"}`))
	f.Add([]byte(`{"__CURSOR":"s","__REALTIME_TIMESTAMP":"-1","MESSAGE":[256,-1],"SYSLOG_IDENTIFIER":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		d, ok, err := bounce.ParseEntry(line)
		if ok {
			require.NoError(t, err)
			assert.NotEmpty(t, d.QueueID)
			assert.LessOrEqual(t, len(d.Rcpt), bounce.MaxRcpt+2)
		}
	})
}

func TestJournalctlThatDoesNotWorkIsAFault(t *testing.T) {
	f := newJournalFeed(t)
	f.options.Journalctl = filepath.Join(t.TempDir(), "none")
	follower := f.follower()
	require.ErrorContains(t, follower.Once(t.Context()), "start journalctl")
	require.ErrorContains(t, follower.Check(t.Context()), "start journalctl")

	f.options.Journalctl = "false"
	require.ErrorContains(t, f.follower().Once(t.Context()), "exit status 1")
	f.options.Journalctl = "echo" // its output is no JSON
	require.ErrorContains(t, f.follower().Once(t.Context()), "JSON")
}
