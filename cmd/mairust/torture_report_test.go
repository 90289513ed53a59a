package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// tortureReport is what a run shows at its end, for docs/durability.md.
type tortureReport struct {
	seed  uint64
	began time.Time
	lines []*tally
	// mutants are the builds that must lose mail.
	mutants []string
}

func newTortureReport(seed uint64) *tortureReport {
	return &tortureReport{seed: seed, began: time.Now()}
}

// tally is one line of the report.
type tally struct {
	what, backend              string
	rounds, sent, again, acked int
	// cutAcks are the acknowledgements before the power was cut. The others came when it was back.
	cutAcks                     int
	lost, corrupt, dup, orphans int
	took                        time.Duration
}

// maxFindings is how many findings of a round are shown.
const maxFindings = 20

// add inspects the rig, whose daemon runs, and counts what it finds. Whatever is found fails the test.
func (l *tally) add(t testing.TB, r *tortureRig, rounds int) *inspection {
	t.Helper()
	i := r.inspect()
	l.count(r.ledger, i, rounds)
	for n, f := range i.findings {
		if n == maxFindings {
			t.Errorf("and %d more", len(i.findings)-maxFindings)
			break
		}
		t.Errorf("%s: %s", f.kind, f.what)
	}
	return i
}

func (l *tally) count(ledger *ledger, i *inspection, rounds int) {
	sent, acked := ledger.count()
	l.rounds += rounds
	l.sent += sent
	l.again += ledger.again
	l.acked += acked
	l.lost += i.of(foundLost)
	l.corrupt += i.of(foundCorrupt)
	l.dup += i.of(foundDuplicate)
	l.orphans += i.orphans
}

// progress says now and then how far a long run is.
func (r *tortureReport) progress(t *testing.T, round, rounds int) {
	t.Helper()
	if (round+1)%25 == 0 || round+1 == rounds {
		t.Logf("%s: %d of %d rounds", time.Since(r.began).Round(time.Second), round+1, rounds)
	}
}

// print writes the table, in the form that docs/durability.md has.
func (r *tortureReport) print(w io.Writer) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n%s, Linux %s, %d cores; objects, and SQLite, on %s; for power cuts on ext4 on a loop device; seed %d; %s in all\n\n",
		r.began.UTC().Format(time.DateOnly), kernel(), runtime.NumCPU(), fileSystem(os.TempDir()), r.seed,
		time.Since(r.began).Round(time.Second))
	columns := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(columns, "| what\t| database\t| rounds\t| sent\t| sent again\t| acknowledged\t| LOST\t| CORRUPT\t| duplicates\t| took\t|")
	fmt.Fprintln(columns, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, l := range r.lines {
		fmt.Fprintf(columns, "| %s\t| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %s\t|\n", l.what, l.backend, l.rounds,
			l.sent, l.again, l.acked, l.lost, l.corrupt, l.dup, l.took.Round(time.Second))
	}
	_ = columns.Flush() // b never fails
	for _, m := range r.mutants {
		fmt.Fprintf(&b, "\n- %s", m)
	}
	orphans, cutAcks := 0, 0
	for _, l := range r.lines {
		orphans, cutAcks = orphans+l.orphans, cutAcks+l.cutAcks
	}
	fmt.Fprintf(&b, "\n\nAcknowledged before a power cut, and not after it: %d", cutAcks)
	fmt.Fprintf(&b, "\n\nWhole objects without a row, left by attempts that were not acknowledged: %d\n\n", orphans)
	_, _ = w.Write(b.Bytes()) // a terminal that is gone has no reader
}

// kernel is uname -r.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// fileSystem is the type of the file system that holds dir.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "?"
	}
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs"}
	if name, known := names[st.Type]; known {
		return name
	}
	return fmt.Sprintf("file system %#x", st.Type)
}
