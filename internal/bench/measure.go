package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/lab"
)

// bench is one invocation: where it runs and for how long.
type bench struct {
	disk *disk
	// queueDisk is for a Postfix that shares no file system with what it delivers to.
	queueDisk *disk
	lasting   time.Duration
	repeat    int
	// loads and servers match the names of those that are measured.
	loads, servers *regexp.Regexp
	mairust        string
	// messages and mailboxes are the sizes of the growth part.
	messages, mailboxes []int
	progress            progress
}

// figures are what one run has measured, or the medians of several.
type figures struct {
	// rate is messages per second.
	rate float64
	// cpu is the server's CPU time per message, database that of the database server, mta that of Postfix, own the
	// sender's: microseconds.
	cpu, database, mta, own float64
	// p50 and p99 are milliseconds.
	p50, p99 float64
	// checked is how many objects a second `mairust fsck` compares.
	checked float64
}

// allCPU is the CPU time per message of the server and its database.
func (f figures) allCPU() float64 { return f.cpu + f.database }

func (f figures) String() string {
	text := fmt.Sprintf("%.0f msg/s, CPU %.0f µs/msg", f.rate, f.allCPU())
	if f.p99 > 0 {
		text += fmt.Sprintf(", p50 %.1f ms, p99 %.1f ms", f.p50, f.p99)
	}
	return text
}

// median takes each figure's own median; all are 0 without runs.
func median(runs []figures) figures {
	if len(runs) == 0 {
		return figures{}
	}
	of := func(field func(figures) float64) float64 {
		var values []float64
		for _, r := range runs {
			values = append(values, field(r))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return figures{
		rate: of(func(f figures) float64 { return f.rate }), cpu: of(func(f figures) float64 { return f.cpu }),
		database: of(func(f figures) float64 { return f.database }), mta: of(func(f figures) float64 { return f.mta }), own: of(func(f figures) float64 { return f.own }),
		p50: of(func(f figures) float64 { return f.p50 }), p99: of(func(f figures) float64 { return f.p99 }),
		checked: of(func(f figures) float64 { return f.checked }),
	}
}

// onFreshDisk runs act with an empty file system's directory.
func (b *bench) onFreshDisk(ctx context.Context, act func(dir string) error) error {
	return b.disk.onFresh(ctx, act)
}

// measure runs a load against a server on a fresh file system.
func (b *bench) measure(ctx context.Context, k kind, l load) (f figures, err error) {
	l.mailboxes, l.domain = k.mailboxes, k.domain
	err = b.onFreshDisk(ctx, func(dir string) (err error) {
		s, err := k.start(ctx, dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		// Every mailbox has been used before the clock starts: Dovecot makes them at the first message, not well at once.
		if err := sendEach(s.addr, l); err != nil {
			return err
		}
		// A quarter more goes before: pools fill, plans are made, caches warm up. What is measured is what lasts.
		if _, err := l.run(ctx, s.addr, b.lasting/4); err != nil {
			return err
		}
		f, err = s.measure(ctx, l, b.lasting)
		if err == nil && k.check {
			f.checked, err = s.fsck(ctx)
		}
		return err
	})
	return f, err
}

// sendEach sends a small message to each mailbox of a load, as far as mailboxCount.
func sendEach(addr string, l load) error {
	c, err := dial(addr, "LHLO")
	if err != nil {
		return err
	}
	body := message(0)
	commands := l.commands()
	for _, command := range commands[:min(len(commands), mailboxCount)] {
		if err := c.send(command, body); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	return c.Close()
}

// measure runs a load against the server as it is.
func (s *server) measure(ctx context.Context, l load, lasting time.Duration) (figures, error) {
	syscall.Sync() // what was prepared is not flushed at the load's cost
	from, err := s.mark(0)
	if err != nil {
		return figures{}, err
	}
	sent, err := l.run(ctx, s.addr, lasting)
	if err != nil {
		return figures{}, err
	}
	n := len(sent.took)
	to, err := s.mark(n)
	f := figuresBetween(from, to)
	f.p50, f.p99 = milliseconds(sent.took[n/2]), milliseconds(sent.took[n*99/100])
	return f, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// mark is a moment in a run: how many messages there have been, and the CPU times since the start.
type mark struct {
	at                         time.Time
	messages                   int
	server, database, mta, own time.Duration
}

func (s *server) mark(messages int) (mark, error) {
	m := mark{at: time.Now(), messages: messages, own: ownCPU()}
	var errs [3]error
	for i, of := range []struct {
		pid  int
		time *time.Duration
	}{{s.pid, &m.server}, {s.database, &m.database}, {s.mta, &m.mta}} {
		if of.pid != 0 {
			*of.time, errs[i] = treeCPU(of.pid)
		}
	}
	return m, errors.Join(errs[:]...)
}

// figuresBetween are those of what happened from one mark to another; all are 0 when that is nothing.
func figuresBetween(from, to mark) figures {
	if to.messages == from.messages {
		return figures{}
	}
	n := float64(to.messages - from.messages)
	perMessage := func(from, to time.Duration) float64 { return float64((to - from).Microseconds()) / n }
	return figures{
		rate: n / to.at.Sub(from.at).Seconds(), cpu: perMessage(from.server, to.server), database: perMessage(from.database, to.database),
		mta: perMessage(from.mta, to.mta), own: perMessage(from.own, to.own),
	}
}

// inTurn measures each kind as often as asked for, one after the other in each round. A kind that can't be had here
// has no figures.
func (b *bench) inTurn(ctx context.Context, what string, kinds []kind, measure func(context.Context, kind) (figures, error)) ([][]figures, error) {
	runs := make([][]figures, len(kinds))
	for n := range b.repeat {
		for i, k := range kinds {
			b.progress.begin("%s; %s; %d of %d", what, k.name, n+1, b.repeat)
			f, err := measure(ctx, k)
			if errors.Is(err, lab.ErrNotRoot) || errors.Is(err, lab.ErrMissing) {
				b.progress.end(fmt.Sprintf("LEFT OUT: %v", err))
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", what, k.name, err)
			}
			b.progress.end(f)
			runs[i] = append(runs[i], f)
		}
	}
	return runs, nil
}

// progress tells how far it has come.
type progress struct {
	to          io.Writer
	done, steps int
	start       time.Time
}

// begin announces a step.
func (p *progress) begin(format string, args ...any) {
	left := "?"
	if p.done > 0 {
		left = (time.Since(p.start) / time.Duration(p.done) * time.Duration(p.steps-p.done)).Round(time.Second).String()
	}
	_, _ = fmt.Fprintf(p.to, "[%d/%d, %s left] %s: ", p.done+1, p.steps, left, fmt.Sprintf(format, args...))
}

// end tells how the step went.
func (p *progress) end(result any) {
	p.done++
	_, _ = fmt.Fprintln(p.to, result)
}
