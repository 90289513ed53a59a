package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/store/sqldb"
)

// slowPatience is for parts that nobody waits for: an alert can wait until it is sure.
const slowPatience = 10 * time.Minute

// catchUpPatience is for what goes on without the database, and needs a moment to catch up when it is back.
const catchUpPatience = time.Minute

// buildWatch builds what looks after the parts that the process depends on.
func (d *daemon) buildWatch() error {
	c := d.config
	var parts []alert.Part
	if d.site.db != nil {
		parts = append(parts,
			alert.Part{Name: "database", Essential: true, Shared: "database", Check: d.site.store.Check},
			alert.Part{Name: "storage", Essential: true, Shared: "storage", Check: d.site.objects.Check})
		if d.site.db.Backend() == sqldb.SQLite {
			parts = append(parts, alert.Part{Name: "checkpoint", Check: d.site.store.CheckWAL})
		}
	}
	dirs := strings.Join(d.site.dirs(), "\n")
	parts = append(parts,
		alert.Part{Name: "mounts", Shared: dirs, Check: d.checkMounts()},
		alert.Part{Name: "disk", Shared: disksOf(d.site.dirs()), Check: func(context.Context) error { return checkDisks(c.Alert, d.site.dirs()) }},
		alert.Part{Name: "listeners", Check: func(context.Context) error { return checkListeners(d.listeners) }},
		alert.Part{Name: "clock", Shared: "clock", Patience: slowPatience, Check: func(context.Context) error { return clockFault() }},
		alert.Part{Name: "certificate", Check: func(context.Context) error { return checkCertificates(d.listeners) }})
	if slices.Contains(d.roles, roleMilter) {
		parts = append(parts, alert.Part{Name: "outbound", Check: d.checkOutbound, Patience: catchUpPatience},
			alert.Part{Name: "bounces", Check: d.checkBounces, Patience: slowPatience})
	}
	if slices.Contains(d.roles, roleLMTP) {
		parts = append(parts, alert.Part{Name: "deliveries", Check: d.checkDeliveries, Patience: catchUpPatience})
	}
	if slices.Contains(d.roles, roleWorker) {
		parts = append(parts, alert.Part{Name: "notices", Check: d.checkNotices}, alert.Part{Name: "sweep", Check: d.checkSweep()})
	}
	sink, err := d.mailSink()
	if err != nil {
		return err
	}
	d.watch = alert.New(c.Alert, alert.Deps{
		Log: d.log.With("component", "alert"), Registerer: d.registry, Sink: sink, TurnDir: filepath.Join(c.RunDir, "alerts"),
	}, parts...)
	d.health = newHealth(d.watch)
	return nil
}

// mailSink is nil when nobody is to be written to.
func (d *daemon) mailSink() (alert.Sink, error) {
	if d.config.Notify.SMTP.Address == "" {
		return nil, nil
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	m, err := d.mailer(hostname)
	if err != nil {
		return nil, err
	}
	return alert.NewMail(m, d.log.With("component", "alert")), nil
}

// checkDeliveries says that a message could not be stored, though the storage works as a whole: else that has its alert, and one is enough.
func (d *daemon) checkDeliveries(ctx context.Context) error {
	if d.agent == nil {
		return nil
	}
	fault := d.agent.Check(ctx)
	if fault != nil && d.site.objects.Check(ctx) != nil {
		d.agent.ForgetFaults()
		fault = nil
	}
	return fault
}

// checkSweep gives a check of what an operator has to look at: a sweep that was stopped or never comes to its end, messages that are
// damaged. While the database does not say, its last word counts: it has an alert of its own.
func (d *daemon) checkSweep() func(context.Context) error {
	var mu sync.Mutex
	var last error
	return func(ctx context.Context) error {
		fault, err := d.sweepFault(ctx)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			last = fault
		}
		return last
	}
}

func (d *daemon) sweepFault(ctx context.Context) (fault, err error) {
	state, err := d.site.store.SweepState(ctx)
	if err != nil {
		return nil, err
	}
	late := d.fsck.IsLate(state)
	if state.Stopped != "" {
		return fmt.Errorf("the sweep is stopped, nothing is removed: %s. If the database is to stay as it is, run mairust fsck --repair", state.Stopped), nil
	}
	n, err := d.fsck.CountDamaged(ctx)
	if n > 0 {
		fault = fmt.Errorf("%d messages are damaged: put them back from a backup, then run mairust fsck", n)
	}
	if late {
		fault = errors.Join(fault, fmt.Errorf("no sweep has come to its end %s: its errors are in the log, as `sweep`", sinceSweep(state.SweptAt)))
	}
	return fault, err
}

// sinceSweep says since when there was no complete sweep.
func sinceSweep(at time.Time) string {
	if at.IsZero() {
		return "yet"
	}
	return "since " + at.UTC().Format(time.RFC3339)
}

// dirs are the directories whose disks must not become full.
func (s *site) dirs() []string {
	list := []string{s.config.DataDir, spoolDir(s.config)}
	if s.db != nil {
		list = append(list, s.config.BasePaths()...)
		if path := s.config.Database.Path; path != "" {
			list = append(list, filepath.Dir(path))
		}
	}
	return list
}

// checkMounts notes where the directories lead now, and gives a check that they still do. A store whose disk was
// unmounted goes on through the descriptor that is open, but its next start would find another directory.
func (d *daemon) checkMounts() func(context.Context) error {
	before := map[string]os.FileInfo{}
	for _, dir := range d.site.dirs() {
		if info, err := os.Stat(dir); err == nil {
			before[dir] = info
		}
	}
	return func(context.Context) error {
		var errs []error
		for dir, was := range before {
			info, err := os.Stat(dir)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("directory in use: %w", err))
			case !os.SameFile(was, info):
				errs = append(errs, fmt.Errorf("%s is not the directory that is in use: mount its disk again before a restart", dir))
			}
		}
		return errors.Join(errs...)
	}
}

// checkDisks names every file system that is short of space, once, by the first of dirs that lies on it.
func checkDisks(o alert.Options, dirs []string) error {
	o = o.WithDefaults()
	var errs []error
	seen := map[uint64]bool{}
	for _, dir := range dirs {
		var file unix.Stat_t
		if err := unix.Stat(dir, &file); err != nil {
			errs = append(errs, fmt.Errorf("disk of %s: %w", dir, err))
			continue
		}
		if seen[file.Dev] {
			continue
		}
		seen[file.Dev] = true
		space, err := spaceOf(dir)
		if err != nil {
			errs = append(errs, err)
		} else if space.isShort(o) {
			errs = append(errs, errors.New(space.String()))
		}
	}
	return errors.Join(errs...)
}

// disksOf names the file systems that directories lie on: two lists that lie on the same ones have one name.
func disksOf(dirs []string) string {
	var list []string
	for _, dir := range dirs {
		var file unix.Stat_t
		if err := unix.Stat(dir, &file); err != nil {
			list = append(list, dir)
			continue
		}
		list = append(list, fmt.Sprint(file.Dev))
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// space is what is left on a file system.
type space struct {
	dir       string
	freeBytes int64
	// percent of blocks that are free, and of inodes where the file system counts them.
	percent, inodePercent int64
}

func spaceOf(dir string) (space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return space{}, fmt.Errorf("disk of %s: %w", dir, err)
	}
	s := space{dir: dir, freeBytes: int64(st.Bavail) * st.Bsize, inodePercent: 100}
	s.percent = int64(100 * st.Bavail / max(st.Blocks, 1))
	if st.Files > 0 {
		s.inodePercent = int64(100 * st.Ffree / st.Files)
	}
	return s, nil
}

func (s space) isShort(o alert.Options) bool {
	least := int64(o.DiskFreePercent)
	return s.percent < least || s.inodePercent < least || s.freeBytes < o.DiskFreeBytes
}

// String is for operators.
func (s space) String() string {
	text := fmt.Sprintf("%s: %d %% free, %.1f GB", s.dir, s.percent, float64(s.freeBytes)/1e9)
	if s.inodePercent < 100 {
		text += fmt.Sprintf(", %d %% of inodes", s.inodePercent)
	}
	return text
}

// errClockUnknown is no alert: sandboxes may not let us ask.
var errClockUnknown = errors.New("the kernel does not tell whether the clock is synchronised")

func clockFault() error {
	if err := checkClock(); !errors.Is(err, errClockUnknown) {
		return err
	}
	return nil
}

// checkClock asks the kernel whether somebody keeps its clock right: verdicts, sessions and keys have ages.
func checkClock() error {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errClockUnknown, err)
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		return errors.New("the clock is not synchronised")
	}
	return nil
}

// checkListeners says where clients do not get in.
func checkListeners(open []openListener) error {
	var errs []error
	for _, l := range open {
		if err := l.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.service.name, err))
		}
	}
	return errors.Join(errs...)
}

// checkCertificates says which certificates end soon.
func checkCertificates(open []openListener) error {
	var texts []string
	for _, l := range open {
		if l.options.Cert == "" {
			continue
		}
		if text := certificateFault(l.options); text != "" {
			texts = append(texts, l.service.name+": "+text)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "\n"))
}

// certificateFault says what is wrong with the certificate of a listener, or soon will be.
func certificateFault(o listen.Options) string {
	leaf, err := readCertificate(o)
	if err != nil {
		return err.Error()
	}
	switch left := time.Until(leaf.NotAfter); {
	case left < 0 || time.Now().Before(leaf.NotBefore):
		return describeCertificate(o, leaf) + ": it is not valid today"
	case left < certificateWarnDays*24*time.Hour:
		return describeCertificate(o, leaf)
	default:
		return ""
	}
}
