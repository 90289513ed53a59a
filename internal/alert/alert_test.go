package alert_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
)

// rig is a watcher of one part that the test breaks, with what it says.
type rig struct {
	*alert.Watcher
	part    *breakable
	sink    *sink
	log     *lines
	metrics *prometheus.Registry
}

// breakable is a part that works unless it is broken.
type breakable struct {
	mu    sync.Mutex
	err   error
	asked int
}

func (b *breakable) check(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.err
}

func (b *breakable) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func (b *breakable) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// sink collects notices, and fails while it is told to.
type sink struct {
	mu       sync.Mutex
	notices  []alert.Notice
	attempts []alert.Notice
	err      error
}

func (s *sink) Send(_ context.Context, n alert.Notice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, n)
	if s.err == nil {
		s.notices = append(s.notices, n)
	}
	return s.err
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sink) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts)
}

func (s *sink) got() []alert.Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]alert.Notice(nil), s.notices...)
}

// lines collects a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// messages gives "LEVEL message" of each line.
func (l *lines) messages(t *testing.T) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for line := range strings.Lines(l.b.String()) {
		var entry struct{ Level, Msg string }
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		list = append(list, entry.Level+" "+entry.Msg)
	}
	return list
}

var errGone = errors.New("connection refused")

// watch runs test with a watcher that runs, on a clock that moves when everybody waits.
func watch(t *testing.T, o alert.Options, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{part: &breakable{}, sink: &sink{}, log: &lines{}, metrics: prometheus.NewRegistry()}
		r.Watcher = alert.New(o, alert.Deps{
			Log: slog.New(slog.NewJSONHandler(r.log, nil)), Registerer: r.metrics, Sink: r.sink,
		}, alert.Part{Name: "database", Check: r.part.check, Essential: true})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		pass(time.Second)
		test(t, r)
		cancel()
		<-ended
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d) // within synctest: no time is lost
	synctest.Wait()
}

func (r *rig) active(t *testing.T) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "mairust_alert_active" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric")
	return 0
}

func TestOneFailureIsToldOnceHoweverLongItLasts(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		require.Empty(t, r.log.messages(t))
		broken := time.Now()
		r.part.set(errGone)
		pass(5 * time.Hour)
		s := r.States()[0]
		assert.True(t, s.Active)
		assert.Equal(t, errGone.Error(), s.Err)
		assert.Equal(t, errGone.Error(), s.Cause)
		assert.WithinDuration(t, broken, s.Since, 10*time.Second)
		assert.InDelta(t, 1, r.active(t), 0)
		require.Equal(t, []string{"ERROR part fails"}, r.log.messages(t))
		require.Len(t, r.sink.got(), 1)
		assert.Equal(t, "database", r.sink.got()[0].Part)
		assert.True(t, r.sink.got()[0].Failing)
		assert.Equal(t, errGone.Error(), r.sink.got()[0].Text)

		r.part.set(nil)
		pass(2 * time.Minute)
		assert.False(t, r.States()[0].Active)
		assert.InDelta(t, 0, r.active(t), 0)
		require.Equal(t, []string{"ERROR part fails", "INFO part works again"}, r.log.messages(t))
		require.Len(t, r.sink.got(), 2)
		assert.False(t, r.sink.got()[1].Failing)
	})
}

func TestLongFailureIsRemindedOfInTheLogAlone(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		r.part.set(errGone)
		pass(13 * time.Hour)
		require.Equal(t, []string{"ERROR part fails", "WARN part still fails", "WARN part still fails"}, r.log.messages(t))
		require.Len(t, r.sink.got(), 1)
	})
}

func TestOneFailedLookIsNoAlert(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		for range 20 {
			r.part.set(errGone)
			pass(10 * time.Second)
			assert.Equal(t, errGone.Error(), r.States()[0].Err, "asked now, it is told")
			r.part.set(nil)
			pass(5 * time.Minute)
		}
		require.Empty(t, r.log.messages(t))
		require.Empty(t, r.sink.got())
	})
}

func TestFlappingIsOneAlert(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		for range 100 {
			r.part.set(errGone)
			pass(30 * time.Second)
			r.part.set(nil)
			pass(30 * time.Second)
			assert.True(t, r.States()[0].Active)
		}
		require.Equal(t, []string{"ERROR part fails"}, r.log.messages(t))
		require.Len(t, r.sink.got(), 1)
	})
}

func TestMailsAreTenMinutesApartAndTheLastStateIsTold(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		for range 3 { // down for two minutes, up for two minutes
			r.part.set(errGone)
			pass(2 * time.Minute)
			r.part.set(nil)
			pass(2 * time.Minute)
		}
		pass(time.Hour)
		notices := r.sink.got()
		require.Len(t, notices, 2)
		assert.True(t, notices[0].Failing)
		assert.False(t, notices[1].Failing)
		assert.GreaterOrEqual(t, notices[1].At.Sub(notices[0].At), 10*time.Minute)
	})
}

// flap lets parts fail and work by turns for a day.
func flap(parts ...*breakable) {
	for range 48 {
		for _, err := range []error{errGone, nil} {
			for _, p := range parts {
				p.set(err)
			}
			pass(15 * time.Minute)
		}
	}
}

// sentOf counts the notices of a part.
func (s *sink) sentOf(part string) int {
	count := 0
	for _, n := range s.got() {
		if n.Part == part {
			count++
		}
	}
	return count
}

// requireAtMost checks that there are at most so many within 24 hours.
func requireAtMost(t *testing.T, most int, list []alert.Notice) {
	t.Helper()
	for i := most; i < len(list); i++ {
		require.GreaterOrEqual(t, list[i].At.Sub(list[i-most].At), 24*time.Hour)
	}
}

func TestAtMostEightMailsADayAboutAPart(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		flap(r.part)
		require.Len(t, r.sink.got(), 7)
		require.True(t, r.sink.got()[6].Failing, "the last word is not that all is well: what fails next could not be told")
		flap(r.part)
		require.GreaterOrEqual(t, len(r.sink.got()), 15, "the next day has mails of its own")
		requireAtMost(t, 8, r.sink.got())
	})
}

func TestAtMostTwentyFourMailsADayAndNoPartMutesTheEssentialOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		others := []*breakable{{}, {}, {}, {}}
		database, storage, clock := &breakable{}, &breakable{}, &breakable{}
		parts := []alert.Part{{Name: "clock", Check: clock.check}}
		for i, name := range []string{"disk", "mounts", "listeners", "bounces"} {
			parts = append(parts, alert.Part{Name: name, Check: others[i].check})
		}
		parts = append(parts, alert.Part{Name: "database", Check: database.check, Essential: true}, alert.Part{Name: "storage", Check: storage.check, Essential: true})
		w := alert.New(alert.Options{}, alert.Deps{Sink: s}, parts...)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()

		flap(others[0])
		require.Len(t, s.got(), 7)
		clock.set(errGone)
		pass(15 * time.Minute)
		require.Equal(t, 1, s.sentOf("clock"), "one that comes and goes mutes no other")
		flap(others[1:]...)
		database.set(errGone)
		storage.set(errGone)
		pass(15 * time.Minute)
		require.Equal(t, 1, s.sentOf("database"))
		require.Equal(t, 1, s.sentOf("storage"))
		flap(append(others, clock, database, storage)...)
		flap(append(others, clock, database, storage)...)
		requireAtMost(t, 24, s.got())
		requireAtMost(t, 16, slices.DeleteFunc(s.got(), func(n alert.Notice) bool { return n.Part == "database" || n.Part == "storage" }))
		cancel()
		<-ended
	})
}

func TestMailThatCannotBeSentIsTriedAgainAndHoldsNothing(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		r.sink.fail(errors.New("mail server is away"))
		r.part.set(errGone)
		pass(time.Hour)
		assert.Less(t, r.sink.tried(), 12, "tried with pauses")
		assert.Greater(t, r.sink.tried(), 5)
		failed, err := testutil.GatherAndCount(r.metrics, "mairust_alert_mails_total")
		require.NoError(t, err)
		assert.Equal(t, 1, failed)
		asked := r.part.count()
		pass(10 * time.Minute)
		assert.Greater(t, r.part.count(), asked+50, "the watching goes on")
		r.sink.fail(nil)
		pass(11 * time.Minute)
		require.Len(t, r.sink.got(), 1)
	})
}

func TestCheckThatHangsIsAFailureAndIsNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var started atomic.Int32
		hanging := alert.Part{Name: "storage", Check: func(context.Context) error { // deaf to its context, as a dead disk is
			started.Add(1)
			<-release
			return nil
		}}
		fine := &breakable{}
		w := alert.New(alert.Options{}, alert.Deps{}, hanging, alert.Part{Name: "database", Check: fine.check})
		for range 3 {
			states := w.Look(t.Context(), 0)
			assert.Contains(t, states[0].Err, "no answer within")
			assert.Empty(t, states[1].Err)
		}
		assert.True(t, w.States()[0].Active)
		assert.Equal(t, int32(1), started.Load())
		assert.Equal(t, 3, fine.asked)
		close(release)
		synctest.Wait()
		assert.Empty(t, w.Look(t.Context(), 0)[0].Err)
	})
}

func TestAskerWhoLeavesWaitsForNoCheckAndLearnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := alert.New(alert.Options{}, alert.Deps{}, alert.Part{Name: "storage", Check: func(context.Context) error {
			<-release
			return errGone
		}})
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		assert.Empty(t, w.Look(ctx, 0)[0].Err)
		assert.Equal(t, time.Second, time.Since(began))
		w.Close()
		assert.Equal(t, 7*time.Second, time.Since(began), "at the end it has its time")
		close(release)
		assert.Equal(t, errGone.Error(), w.Look(t.Context(), 0)[0].Err, "the answer is there for who asks next")
	})
}

func TestAskersShareALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		part := &breakable{}
		w := alert.New(alert.Options{}, alert.Deps{}, alert.Part{Name: "database", Check: part.check})
		for range 100 {
			w.Look(t.Context(), 3*time.Second)
		}
		assert.Equal(t, 1, part.asked)
		pass(4 * time.Second)
		w.Look(t.Context(), 3*time.Second)
		assert.Equal(t, 2, part.asked)
	})
}

func TestPanicOfACheckIsItsFailure(t *testing.T) {
	w := alert.New(alert.Options{}, alert.Deps{}, alert.Part{Name: "clock", Check: func(context.Context) error {
		panic("no clock")
	}})
	assert.Contains(t, w.Look(t.Context(), 0)[0].Err, "no clock")
}
