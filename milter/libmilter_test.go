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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/milter"
)

// plainChildEnv makes the test program a milter without checks at the socket it names, with a log that nobody reads.
const plainChildEnv = "MAIRUST_MILTER_TEST_PLAIN"

func plainMilter(socket string) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	s, err := milter.New(milter.Options{}, milter.Deps{MAC: testMAC, Log: slog.New(slog.NewJSONHandler(null, nil))})
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		return err
	}
	return s.Serve(context.Background(), ln, milter.RoleAuto)
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

func middle(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// BenchmarkBesideLibmilter compares a Postfix with our milter, without checks, to one with a C filter on libmilter that
// does nothing, once as libmilter filters are by default and once as silent as ours. They take turns; medians count.
// MILTER_BENCH_MESSAGES is how many messages one turn has (default 2000).
func BenchmarkBesideLibmilter(b *testing.B) {
	messages, err := strconv.Atoi(cmp.Or(os.Getenv("MILTER_BENCH_MESSAGES"), "2000"))
	require.NoError(b, err)
	program := compileNothing(b)
	dir := labtest.ShortDir(b)
	path := func(name string) string { return filepath.Join(dir, name) }
	ours := exec.Command(os.Args[0])
	ours.Env = append(os.Environ(), plainChildEnv+"="+path("ours.sock"))
	contenders := []*contender{
		newContender(b, "none", "", nil),
		newContender(b, "c", path("c.sock"), exec.Command(program, "unix:"+path("c.sock"))),
		newContender(b, "c-silent", path("s.sock"), exec.Command(program, "unix:"+path("s.sock"), "silent")),
		newContender(b, "ours", path("ours.sock"), ours),
	}
	for _, c := range contenders { // Postfix starts its processes, files are in the cache
		c.flood(b, messages/4)
		c.rates, c.cpu = nil, nil
	}
	for b.Loop() {
		for _, c := range contenders {
			c.flood(b, messages)
		}
	}
	us := contenders[3]
	for _, c := range contenders {
		b.ReportMetric(middle(c.rates), c.name+"-msgs/s")
		if c.cmd != nil {
			b.ReportMetric(middle(c.cpu), c.name+"-cpu-µs/msg")
		}
	}
	b.ReportMetric(middle(us.rates)/middle(contenders[1].rates), "rate/c")
	b.ReportMetric(middle(us.cpu)/middle(contenders[1].cpu), "cpu/c")
	b.ReportMetric(middle(us.rates)/middle(contenders[2].rates), "rate/c-silent")
	b.ReportMetric(middle(us.cpu)/middle(contenders[2].cpu), "cpu/c-silent")
	b.ReportMetric(0, "ns/op")
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
