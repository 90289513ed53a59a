package bounce_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/policy/bounce"
)

// sink collects what a feed reports; answer, when set, says what becomes of a report.
type sink struct {
	mu      sync.Mutex
	got     []bounce.Bounce
	last    bounce.Report
	reports int
	answer  func(n int) error
}

func (s *sink) Report(_ context.Context, r bounce.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports++
	if s.answer != nil {
		if err := s.answer(s.reports); err != nil {
			return err
		}
	}
	s.got = append(s.got, r.Bounces...)
	s.last = r
	return nil
}

// ids gives the queue ids so far.
func (s *sink) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []string{}
	for _, b := range s.got {
		ids = append(ids, b.QueueID)
	}
	return ids
}

// feed is a log that a test writes, with its follower's position.
type feed struct {
	t       *testing.T
	log     string
	sink    *sink
	options bounce.Options
	deps    bounce.FollowerDeps
	late    time.Duration
}

func newFeed(t *testing.T) *feed {
	t.Helper()
	dir := t.TempDir()
	f := &feed{t: t, log: filepath.Join(dir, "mail.log"), sink: &sink{}}
	f.options = bounce.Options{File: f.log, Host: "mx1.example.test"}
	f.deps = bounce.FollowerDeps{
		Sink: f.sink, PositionPath: filepath.Join(dir, "state", "position.json"), Every: time.Millisecond, Retry: time.Millisecond,
		Now: func() time.Time { return time.Now().Add(f.late) },
	}
	return f
}

// bounced is a line, without its end.
func bounced(id string) string {
	return time.Now().Format("Jan _2 15:04:05") + " mx1 postfix/smtp[1]: " + id + ": " + refused
}

// write appends lines; without a final line end when the last is "…".
func (f *feed) write(name string, lines ...string) {
	f.t.Helper()
	text := strings.Join(lines, "\n") + "\n"
	text = strings.TrimSuffix(text, "…\n")
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(f.t, err)
	_, err = file.WriteString(text)
	require.NoError(f.t, errors.Join(err, file.Close()))
}

func (f *feed) follower() *bounce.Follower {
	f.t.Helper()
	follower, err := bounce.NewFollower(f.options, f.deps)
	require.NoError(f.t, err)
	return follower
}

// once reads to the end, as a process that was started anew, and gives what was new.
func (f *feed) once() []string {
	f.t.Helper()
	before := len(f.sink.ids())
	require.NoError(f.t, f.follower().Once(f.t.Context()))
	return f.sink.ids()[before:]
}

// afterGrace lets the time pass that a renamed file may still be written to.
func (f *feed) afterGrace() { f.late += time.Minute }

func (f *feed) metric(name string) float64 {
	f.t.Helper()
	registry, ok := f.deps.Registerer.(*prometheus.Registry)
	require.True(f.t, ok)
	families, err := registry.Gather()
	require.NoError(f.t, err)
	sum := 0.0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			label := family.GetName()
			for _, l := range m.GetLabel() {
				label += "/" + l.GetValue()
			}
			if label == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestRestartNeitherLosesNorRepeatsLines(t *testing.T) {
	f := newFeed(t)
	f.write(f.log, bounced("AAAAA0"))
	assert.Empty(t, f.once(), "what was there before the first start is not read")
	f.write(f.log, bounced("AAAAA1"), "something else", bounced("AAAAA2"))
	assert.Equal(t, []string{"AAAAA1", "AAAAA2"}, f.once())
	assert.Empty(t, f.once())
	f.write(f.log, bounced("AAAAA3"))
	assert.Equal(t, []string{"AAAAA3"}, f.once())
}

func TestFileThatIsMadeLaterIsReadFromItsBeginning(t *testing.T) {
	f := newFeed(t)
	assert.Empty(t, f.once())
	f.write(f.log, bounced("AAAAA1"))
	assert.Equal(t, []string{"AAAAA1"}, f.once())
}

func TestLineIsReadWhenItIsWhole(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	line := bounced("AAAAA1")
	f.write(f.log, line[:len(line)/2]+"…")
	assert.Empty(t, f.once())
	f.write(f.log, line[len(line)/2:], bounced("AAAAA2"))
	assert.Equal(t, []string{"AAAAA1", "AAAAA2"}, f.once())
}

func TestStartWithinALineLeavesItsRestOut(t *testing.T) {
	f := newFeed(t)
	f.write(f.log, "evil text …")
	assert.Empty(t, f.once())
	f.write(f.log, bounced("AAAAA1"), bounced("AAAAA2"))
	assert.Equal(t, []string{"AAAAA2"}, f.once(), "the first is the end of another line")
}

func TestRenamedLogIsReadToItsEnd(t *testing.T) {
	f := newFeed(t)
	f.write(f.log, "first")
	require.Empty(t, f.once())
	f.write(f.log, bounced("AAAAA1"))
	require.NoError(t, os.Rename(f.log, f.log+".1"))
	f.write(f.log, bounced("AAAAA3"))
	assert.Equal(t, []string{"AAAAA1"}, f.once(), "the daemon may not have opened the new one yet")
	f.write(f.log+".1", bounced("AAAAA2"))
	assert.Equal(t, []string{"AAAAA2"}, f.once())
	f.afterGrace()
	assert.Equal(t, []string{"AAAAA3"}, f.once())
	assert.Empty(t, f.once())
}

func TestSeveralRotationsWhileNobodyReads(t *testing.T) {
	for _, names := range [][2]string{{".2", ".1"}, {"-20261124", "-20261125"}, {".20261124-030000", ".20261125-030000"}} {
		f := newFeed(t)
		f.write(f.log, "first")
		require.Empty(t, f.once())
		f.write(f.log, bounced("AAAAA1"))
		require.NoError(t, os.Rename(f.log, f.log+names[0]))
		f.write(f.log, bounced("AAAAA2"))
		require.NoError(t, os.Rename(f.log, f.log+names[1]))
		f.write(f.log, bounced("AAAAA3"))
		f.write(f.log+".3.gz", "compressed")
		f.write(f.log+"-errors", bounced("AAAAA9"))
		f.afterGrace()
		assert.Equal(t, []string{"AAAAA1", "AAAAA2", "AAAAA3"}, f.once(), names)
	}
}

func TestLogThatWasCompressedBeforeItWasReadIsAGap(t *testing.T) {
	f := newFeed(t)
	registry := prometheus.NewRegistry()
	f.write(f.log, "first")
	require.Empty(t, f.once())
	f.write(f.log, bounced("AAAAA1"))
	require.NoError(t, os.Remove(f.log)) // now within mail.log.2.gz
	f.write(f.log+".1", bounced("AAAAA2"))
	f.write(f.log, bounced("AAAAA3"))
	soon := time.Now().Add(time.Second)
	require.NoError(t, errors.Join(os.Chtimes(f.log+".1", soon, soon), os.Chtimes(f.log, soon, soon)))
	f.afterGrace()
	f.deps.Registerer = registry
	assert.Equal(t, []string{"AAAAA2", "AAAAA3"}, f.once())
	assert.InDelta(t, 1, f.metric("mairust_bounce_dropped_total/gap"), 0)
	assert.Equal(t, int64(1), f.sink.last.Gaps)
}

func TestLogThatIsCopiedAndTruncated(t *testing.T) {
	for _, regrown := range []int{0, 1, 200} {
		f := newFeed(t)
		f.write(f.log, bounced("AAAAA0"))
		require.Empty(t, f.once())
		f.write(f.log, bounced("AAAAA1"))
		raw, err := os.ReadFile(f.log)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(f.log+".1", raw, 0o600))
		require.NoError(t, os.Truncate(f.log, 0))
		want := []string{"AAAAA1"}
		for i := range regrown {
			id := fmt.Sprintf("BBBBB%d", i)
			want = append(want, id)
			f.write(f.log, bounced(id))
		}
		f.afterGrace()
		assert.Equal(t, want, f.once(), "with %d lines since", regrown)
		assert.Empty(t, f.once())
	}
}

func TestTruncationWithoutACopyIsAGap(t *testing.T) {
	f := newFeed(t)
	f.write(f.log, bounced("AAAAA0"))
	require.Empty(t, f.once())
	require.NoError(t, os.Truncate(f.log, 0))
	f.write(f.log, "new", bounced("AAAAA1"))
	f.deps.Registerer = prometheus.NewRegistry()
	assert.Equal(t, []string{"AAAAA1"}, f.once())
	assert.InDelta(t, 1, f.metric("mairust_bounce_dropped_total/gap"), 0)
}

func TestInodeThatIsUsedAgainIsAnotherFile(t *testing.T) {
	f := newFeed(t)
	f.write(f.log, bounced("AAAAA0"))
	require.Empty(t, f.once())
	// The same inode with other bytes, as after a removal.
	require.NoError(t, os.WriteFile(f.log, []byte(strings.Repeat(bounced("AAAAA1")+"\n", 5)), 0o600))
	assert.Len(t, f.once(), 5)
}

func TestLongLinesAreLeftOutAndCounted(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	f.deps.Registerer = prometheus.NewRegistry()
	long := strings.Repeat("x", 20_000)
	huge := strings.Repeat("y", 1<<20)
	f.write(f.log, long+bounced("AAAAA0"), huge+bounced("AAAAA1"), bounced("AAAAA2"), huge+"…")
	assert.Equal(t, []string{"AAAAA2"}, f.once())
	assert.InDelta(t, 3, f.metric("mairust_bounce_dropped_total/too_long"), 0)
	f.deps.Registerer = nil
	f.write(f.log, bounced("AAAAA3"), bounced("AAAAA4"))
	assert.Equal(t, []string{"AAAAA4"}, f.once(), "a restart does not take the end of a long line for a line")
}

func TestOtherHostsOfASharedLogAreLeftOut(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	f.options.LogHost = "MX1.example.test"
	other := strings.Replace(bounced("AAAAA1"), " mx1 ", " mx2 ", 1)
	f.write(f.log, other, bounced("AAAAA2"), strings.Replace(bounced("AAAAA3"), " mx1 ", " mx1.example.test ", 1))
	assert.Equal(t, []string{"AAAAA2", "AAAAA3"}, f.once())
}

func TestReportThatFailsComesAgain(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	f.deps.Registerer = prometheus.NewRegistry()
	f.sink.answer = func(n int) error {
		if n <= 3 {
			return errors.New("away")
		}
		return nil
	}
	f.write(f.log, bounced("AAAAA1"))
	assert.Equal(t, []string{"AAAAA1"}, f.once())
	assert.InDelta(t, 3, f.metric("mairust_bounce_reports_total/failed"), 0)
}

func TestStopBeforeAReportIsTakenRepeatsIt(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	f.write(f.log, bounced("AAAAA1"))
	ctx, cancel := context.WithCancel(t.Context())
	f.sink.answer = func(int) error {
		cancel()
		return errors.New("away")
	}
	f.follower().Run(ctx)
	assert.Empty(t, f.sink.ids())
	f.sink.answer = nil
	assert.Equal(t, []string{"AAAAA1"}, f.once())
}

func TestRefusedReportIsCountedAndNotRepeated(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	f.deps.Registerer = prometheus.NewRegistry()
	f.sink.answer = func(int) error { return fmt.Errorf("%w: no such role", bounce.ErrRefused) }
	f.write(f.log, bounced("AAAAA1"))
	follower := f.follower()
	require.NoError(t, follower.Once(t.Context()))
	require.ErrorContains(t, follower.Check(t.Context()), "no such role")
	assert.InDelta(t, 1, f.metric("mairust_bounce_dropped_total/refused"), 0)
	f.sink.answer = nil
	f.deps.Registerer = nil
	assert.Empty(t, f.once())
}

func TestManyBouncesComeInBoundedReports(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	var lines []string
	for i := range 3 * bounce.MaxBatch {
		lines = append(lines, bounced(fmt.Sprintf("A%06d", i)))
	}
	f.write(f.log, lines...)
	f.sink.answer = func(int) error { return nil }
	assert.Len(t, f.once(), 3*bounce.MaxBatch)
	assert.GreaterOrEqual(t, f.sink.reports, 3)
}

func TestLagIsSeenWhileNobodyTakesReports(t *testing.T) {
	f := newFeed(t)
	f.deps.FromStart = true
	f.deps.Registerer = prometheus.NewRegistry()
	var lines []string
	for i := range 2 * bounce.MaxBatch {
		lines = append(lines, bounced(fmt.Sprintf("A%06d", i)))
	}
	f.write(f.log, lines...)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan struct{}, 1)
	f.sink.answer = func(int) error {
		select {
		case failed <- struct{}{}:
		default:
		}
		return errors.New("away")
	}
	follower := f.follower()
	ended := make(chan struct{})
	go func() { defer close(ended); follower.Run(ctx) }()
	<-failed
	assert.Greater(t, f.metric("mairust_bounce_lag_bytes"), 1000.0)
	cancel()
	<-ended
	f.late = 10 * time.Minute
	require.Error(t, follower.Check(t.Context()))
	assert.Greater(t, f.metric("mairust_bounce_lag_seconds"), 500.0)
}

func TestLogThatIsReadableLaterIsReadFromItsEnd(t *testing.T) {
	f := newFeed(t)
	require.NoError(t, os.Mkdir(f.log, 0o700)) // root reads everything, so permissions would not do
	ctx, cancel := context.WithCancel(t.Context())
	follower, ended := f.follower(), make(chan struct{})
	require.NoError(t, os.Remove(f.log))
	f.write(f.log, bounced("AAAAA0"))
	f.sink.answer = func(int) error { return nil }
	go func() { defer close(ended); follower.Run(ctx) }()
	require.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
		f.write(f.log, bounced("AAAAA1"))
		if len(f.sink.ids()) == 0 {
			return errors.New("nothing yet")
		}
		return nil
	}))
	cancel()
	<-ended
	assert.NotContains(t, f.sink.ids(), "AAAAA0")
}

func TestFollowerOfALogThatCannotBeReadSaysSo(t *testing.T) {
	f := newFeed(t)
	require.NoError(t, os.Mkdir(f.log, 0o700))
	follower := f.follower()
	require.ErrorContains(t, follower.Once(t.Context()), "not a regular file")
	require.ErrorContains(t, follower.Check(t.Context()), "not a regular file")
	require.NoError(t, os.MkdirAll(filepath.Dir(f.deps.PositionPath), 0o700))
	require.NoError(t, os.WriteFile(f.deps.PositionPath, []byte("{"), 0o600))
	_, err := bounce.NewFollower(f.options, f.deps)
	require.ErrorContains(t, err, "position.json")
}
