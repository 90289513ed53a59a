package milter_test

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/milter"
)

// plainChildEnv makes the test program a milter without checks, with a log that nobody reads. It names role and socket, with a
// colon between. The outbound engine is there, and not asked: a stranger sends.
const plainChildEnv = "MAIRUST_MILTER_TEST_PLAIN"

func plainMilter(socket string) error {
	role, path, _ := strings.Cut(socket, ":")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	s, err := milter.New(milter.Options{}, milter.Deps{
		MAC: testMAC, Log: slog.New(slog.NewJSONHandler(null, nil)), Registerer: prometheus.NewRegistry(), Outbound: &engine{},
	})
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	return s.Serve(context.Background(), ln, role)
}

// contender is a milter in a process of its own, with a Postfix before it.
type contender struct {
	name string
	cmd  *exec.Cmd
	pf   *lab.Postfix

	rates []float64 // messages a second
	cpu   []float64 // microseconds of the milter for a message
}

func newContender(b *testing.B, name, socket string, cmd *exec.Cmd) *contender {
	b.Helper()
	c := &contender{name: name, cmd: cmd}
	o := lab.PostfixOptions{}
	if cmd != nil {
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(b, cmd.Start())
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if b.Failed() {
				b.Logf("%s: %s", name, &out)
			}
		})
		require.NoError(b, lab.Eventually(waiting(b), func(ctx context.Context) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
			if err != nil {
				return err
			}
			return conn.Close()
		}))
		o.Milter = "unix:" + socket
	}
	c.pf = labtest.Postfix(b, o)
	return c
}

// flood sends messages of 8 KiB over 8 sessions at once, which Postfix discards.
func (c *contender) flood(b *testing.B, messages int) {
	b.Helper()
	before := c.used(b)
	start := time.Now()
	out, err := exec.CommandContext(waiting(b), "smtp-source", "-s", "8", "-m", strconv.Itoa(messages), "-l", "8192",
		"-f", "a@sender.test", "-t", "bob@example.test", c.pf.SMTPAddr).CombinedOutput()
	took := time.Since(start)
	require.NoError(b, err, "%s", out)
	c.rates = append(c.rates, float64(messages)/took.Seconds())
	c.cpu = append(c.cpu, float64((c.used(b)-before).Microseconds())/float64(messages))
}

// used is the processor time of the milter so far, that of threads that have ended included.
func (c *contender) used(b *testing.B) time.Duration {
	b.Helper()
	if c.cmd == nil {
		return 0
	}
	const schedClock = 2 // CPUCLOCK_SCHED: the clock of a process is made of its id, as clock_getcpuclockid(3) does
	var ts unix.Timespec
	require.NoError(b, unix.ClockGettime(int32(^c.cmd.Process.Pid<<3|schedClock), &ts))
	return time.Duration(ts.Nano())
}

// quartiles are the median and what half of a list is between.
func quartiles(list []float64) (low, middle, high float64) {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return sorted[n/4], sorted[n/2], sorted[n-1-n/4]
}

// ratios are those of each round, in which both had the same machine.
func ratios(a, b []float64) []float64 {
	list := make([]float64, len(a))
	for i := range a {
		list[i] = a[i] / b[i]
	}
	return list
}

// BenchmarkBesideLibmilter compares a Postfix with our milter, without checks, to one with a C filter on libmilter that does
// nothing: as libmilter filters are by default ("c"), and as silent as ours is, on a listener of role inbound, where nobody is refused
// before the end of a message, and of role auto with the outbound engine ("asked"). "c-insert" inserts a field as ours does, which costs
// Postfix more than us. All take turns, in the opposite order every other
// round. Ratios are made within each round; their median counts, and half of the rounds are between the figures printed beside it.
// MILTER_BENCH_MESSAGES is how many messages one turn has (default 1000).
func BenchmarkBesideLibmilter(b *testing.B) {
	messages, err := strconv.Atoi(cmp.Or(os.Getenv("MILTER_BENCH_MESSAGES"), "1000"))
	require.NoError(b, err)
	program := compileNothing(b)
	dir := labtest.ShortDir(b)
	path := func(name string) string { return filepath.Join(dir, name) }
	ours := func(role string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), plainChildEnv+"="+role+":"+path("ours-"+role))
		return cmd
	}
	none := newContender(b, "none", "", nil)
	c := newContender(b, "c", path("c"), exec.Command(program, "unix:"+path("c")))
	cSilent := newContender(b, "c-silent", path("s"), exec.Command(program, "unix:"+path("s"), "silent"))
	cAsked := newContender(b, "c-asked", path("a"), exec.Command(program, "unix:"+path("a"), "asked"))
	cInsert := newContender(b, "c-insert", path("i"), exec.Command(program, "unix:"+path("i"), "insert"))
	inbound := newContender(b, "ours", path("ours-inbound"), ours(milter.RoleInbound))
	asked := newContender(b, "ours-asked", path("ours-auto"), ours(milter.RoleAuto))
	all := []*contender{none, c, cSilent, cAsked, cInsert, inbound, asked}
	contenders := slices.Clone(all)
	for _, c := range contenders { // Postfix starts its processes, files are in the cache
		c.flood(b, messages/4)
		c.rates, c.cpu = nil, nil
	}
	for b.Loop() {
		for _, c := range contenders {
			c.flood(b, messages)
		}
		slices.Reverse(contenders)
	}
	for _, c := range all {
		c.tell(b)
	}
	inbound.compare(b, c)
	inbound.compare(b, cSilent)
	inbound.compare(b, cInsert)
	asked.compare(b, c)
	asked.compare(b, cAsked)
	b.ReportMetric(0, "ns/op")
}

// tell prints a contender's own figures.
func (c *contender) tell(b *testing.B) {
	b.Helper()
	_, rate, _ := quartiles(c.rates)
	_, cpu, _ := quartiles(c.cpu)
	b.Logf("%-11s %6.0f msg/s  %5.0f µs of the milter for a message", c.name, rate, cpu)
}

// compare prints what a contender is of another one.
func (c *contender) compare(b *testing.B, other *contender) {
	b.Helper()
	low, rate, high := quartiles(ratios(c.rates, other.rates))
	lowCPU, cpu, highCPU := quartiles(ratios(c.cpu, other.cpu))
	b.Logf("%-11s beside %-9s rate %.2f (%.2f to %.2f), CPU %.2f (%.2f to %.2f)", c.name, other.name, rate, low, high, cpu, lowCPU, highCPU)
	b.ReportMetric(rate, c.name+"-rate/"+other.name)
	b.ReportMetric(cpu, c.name+"-cpu/"+other.name)
}

// compileNothing makes the C filter, if this machine can.
func compileNothing(b *testing.B) string {
	b.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		b.Skip("SKIPPED: no C compiler (package gcc): the C filter to compare with can't be made")
	}
	program := filepath.Join(b.TempDir(), "nothing")
	out, err := exec.CommandContext(waiting(b), compiler, "-O2", "-o", program, "testdata/nothing.c", "-lmilter", "-lpthread").CombinedOutput()
	if err != nil {
		b.Skipf("SKIPPED: the C filter does not compile (package libmilter-dev): %v\n%s", err, out)
	}
	return program
}
