package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/sqldb"
)

// nullSink is Postfix's own LMTP server for tests, which throws mail away.
var nullSink = kind{name: "null sink", start: func(ctx context.Context, dir string) (*server, error) {
	socket := filepath.Join(dir, "sink")
	cmd := exec.Command("/usr/sbin/smtp-sink", "-u", "root", "-L", "unix:"+socket, "1000") //nolint:gosec // ended by close
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return startSink(ctx, cmd, socket)
}}

// flow is how mail gets into Postfix.
type flow struct {
	name string
	// queued fills the queue first, and measures how fast it is emptied; else mail is measured as it comes.
	queued bool
	// apart: Postfix and the server share neither processors nor a file system, but its disk.
	apart bool
}

var flows = []flow{
	{name: "a full queue is emptied", queued: true},
	{name: "mail comes in and goes out"},
	{name: "a full queue is emptied, apart", queued: true, apart: true},
	{name: "mail comes in and goes out, apart", apart: true},
}

// postfixGoal is the least share of the null sink's rate.
const postfixGoal = 0.95

// inbound is what is sent to Postfix.
var inbound = load{connections: 32, size: 4 << 10, smtp: true}

// throughPostfix measures a real Postfix that delivers to MaiRust, beside one that delivers to nowhere.
func throughPostfix(b *bench) *part {
	var chosen []flow
	steps := 0
	for _, f := range flows {
		if b.loads.MatchString(f.name) {
			chosen = append(chosen, f)
			steps += len(b.receivers(f)) * b.repeat
		}
	}
	return &part{name: "postfix", steps: steps, run: func(ctx context.Context) (_ *table, err error) {
		if slices.ContainsFunc(chosen, func(f flow) bool { return f.apart }) {
			if b.queueDisk, err = newDisk(ctx, min(b.disk.sizeMB, queueMB(b.lasting))); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, b.queueDisk.Close()) }()
			restore, err := keepKernelWork()
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, restore()) }()
		}
		t := &table{columns: []string{"4 KB, 32 SMTP sessions", "delivered to", "msg/s", "Postfix's CPU µs/msg", "server's", "of it database", "sender's", "of sink", "goal"}}
		for _, f := range chosen {
			kinds := b.receivers(f)
			runs, err := b.inTurn(ctx, f.name, kinds, func(ctx context.Context, k kind) (figures, error) { return b.measureFlow(ctx, k, f) })
			if err != nil {
				return nil, err
			}
			addFlow(t, f, kinds, runs)
		}
		return t, nil
	}}
}

// receivers are what Postfix delivers to in a flow: first the null sink, to which the others are compared.
func (b *bench) receivers(f flow) []kind {
	list := []kind{flushingSink, dovecot, mairust(b.mairust, sqldb.SQLite), mairust(b.mairust, sqldb.Postgres)}
	if f.apart { // else these would take Postfix's own processors
		list = append([]kind{busySink("computing"), busySink("in memory")}, list...)
	}
	return append([]kind{nullSink}, only(list, b.servers)...)
}

// queueMB is the size of an image in MB that no queue fills: Postfix takes 2,000 messages a second at most, of 8 KB with their blocks.
func queueMB(lasting time.Duration) int { return 1024 + 32*int(lasting.Seconds()) }

func addFlow(t *table, f flow, kinds []kind, runs [][]figures) {
	sink := median(runs[0])
	for i, k := range kinds {
		r := median(runs[i])
		if r.rate == 0 {
			continue // left out
		}
		row := []string{f.name, k.name, fmt.Sprintf("%.0f", r.rate), fmt.Sprintf("%.0f", r.mta), fmt.Sprintf("%.0f", r.allCPU()), fmt.Sprintf("%.0f", r.database), fmt.Sprintf("%.0f", r.own)}
		if i > 0 {
			share := r.rate / sink.rate
			row = append(row, fmt.Sprintf("%.2f", share))
			if !strings.HasPrefix(k.name, nullSink.name) {
				row = append(row, verdict(fmt.Sprintf("≥ %g", postfixGoal), share >= postfixGoal))
			}
		}
		t.add(row...)
	}
}

// start starts a server. What is started after it, until restore, shares no processor with it where the flow wants that.
func (f flow) start(ctx context.Context, k kind, dir string) (s *server, restore func() error, err error) {
	if !f.apart {
		s, err = k.start(ctx, dir)
		return s, func() error { return nil }, err
	}
	p, err := newProcessors()
	if err != nil {
		return nil, nil, err
	}
	restore = func() error { return runOn(&p.all) }
	if err := runOn(&p.server); err != nil {
		return nil, nil, errors.Join(err, restore())
	}
	if s, err = k.start(ctx, dir); err != nil {
		return nil, nil, errors.Join(err, restore())
	}
	if err := runOn(&p.others); err != nil {
		return nil, nil, errors.Join(err, restore(), s.close())
	}
	return s, restore, nil
}

// measureFlow runs Postfix in front of a server, with the queue on the same fresh file system, or on one of its own.
func (b *bench) measureFlow(ctx context.Context, k kind, f flow) (result figures, err error) {
	err = b.onFreshDisk(ctx, func(dir string) error {
		run := func(queue string) (err error) {
			result, err = b.runFlow(ctx, k, f, dir, queue)
			return err
		}
		if f.apart {
			return b.queueDisk.onFresh(ctx, run)
		}
		return run(dir)
	})
	return result, err
}

func (b *bench) runFlow(ctx context.Context, k kind, f flow, dir, queue string) (result figures, err error) {
	s, restore, err := f.start(ctx, k, dir)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.close(), restore()) }()
	// Nothing leaves the queue but by Flush. The limit is that of docs/postfix.md: with Postfix's 20 at once, each waits longer
	// for the disk than for the server.
	extra := map[string]string{"queue_run_delay": "1h", "lmtp_line_length_limit": "0", "lmtp_destination_concurrency_limit": "60"}
	if f.queued {
		extra["smtpd_client_restrictions"] = "check_client_access static:HOLD"
	}
	p, err := lab.StartPostfix(ctx, lab.PostfixOptions{Dir: queue, VirtualTransport: "lmtp:" + s.addr, ExtraMain: extra})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	s.mta = p.Pid()
	if f.queued {
		return b.emptyQueue(ctx, s, p)
	}
	return b.passThrough(ctx, s, p)
}

// emptyQueue takes mail for as long as a load lasts, and then measures its delivery. The first and the last tenth
// don't count: Postfix begins with few connections, and ends with few.
func (b *bench) emptyQueue(ctx context.Context, s *server, p *lab.Postfix) (figures, error) {
	sent, err := inbound.run(ctx, p.SMTPAddr, b.lasting)
	if err != nil {
		return figures{}, err
	}
	if err := p.Release(ctx); err != nil {
		return figures{}, err
	}
	syscall.Sync()
	if err := p.Flush(ctx); err != nil {
		return figures{}, err
	}
	n := len(sent.took)
	d := deliveries{path: p.LogFile}
	if err := d.await(ctx, n/10); err != nil {
		return figures{}, err
	}
	from, err := s.mark(d.count)
	if err != nil {
		return figures{}, err
	}
	if err := d.await(ctx, n*9/10); err != nil {
		return figures{}, err
	}
	to, err := s.mark(d.count)
	return figuresBetween(from, to), err
}

// passThrough measures what is delivered while mail comes in. A quarter more goes before, in which processes start.
func (b *bench) passThrough(ctx context.Context, s *server, p *lab.Postfix) (figures, error) {
	syscall.Sync()
	d := deliveries{path: p.LogFile}
	ended := make(chan error, 1)
	go func() {
		_, err := inbound.run(ctx, p.SMTPAddr, b.lasting/4+b.lasting)
		ended <- err
	}()
	select {
	case err := <-ended:
		return figures{}, errors.Join(err, errors.New("the senders ended early"))
	case <-time.After(b.lasting / 4):
	}
	errRead := d.read()
	from, errMark := s.mark(d.count)
	if err := errors.Join(errRead, errMark, <-ended, d.read()); err != nil {
		return figures{}, err
	}
	to, err := s.mark(d.count)
	return figuresBetween(from, to), err
}

// deliveries counts them in Postfix's log as it grows.
type deliveries struct {
	path   string
	offset int64
	count  int
}

// await reads until there were n.
func (d *deliveries) await(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return lab.Eventually(ctx, func(context.Context) error {
		if err := d.read(); err != nil {
			return err
		}
		if d.count < n {
			return fmt.Errorf("%d of %d messages were delivered", d.count, n)
		}
		return nil
	})
}

// read counts in what is new.
func (d *deliveries) read() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text := make([]byte, info.Size()-d.offset)
	if _, err := f.ReadAt(text, d.offset); err != nil {
		return err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	d.offset += int64(len(text))
	d.count += bytes.Count(text, []byte("status=sent"))
	if i := max(bytes.Index(text, []byte("status=deferred")), bytes.Index(text, []byte("status=bounced"))); i >= 0 {
		return fmt.Errorf("not delivered: %.300s", text[i:])
	}
	return nil
}
