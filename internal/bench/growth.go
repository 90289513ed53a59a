package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// flatness is how much the CPU time of a delivery may grow.
const flatness = 1.1

// crowd is what is there before the load.
type crowd struct{ messages, mailboxes int }

func (c crowd) String() string {
	return fmt.Sprintf("%s messages in %s mailboxes", grouped(c.messages), grouped(c.mailboxes))
}

// grouped is 1,000,000 for 1000000.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// fill puts the messages into index and directories. Their files are hard links of a few: the directories are as large
// as they would be, the number of files is not.
func (c crowd) fill(ctx context.Context, s *site, db *sqldb.DB) error {
	if _, err := storetest.Fill(ctx, db, c.mailboxes, c.messages); err != nil {
		return err
	}
	if s.postgres != nil {
		// As autovacuum would have done long ago.
		if _, err := s.postgres.Exec(ctx, "VACUUM ANALYZE"); err != nil {
			return err
		}
	}
	o := objects{base: filepath.Join(s.data(), "mail")}
	return db.Each(ctx, `SELECT object_key FROM messages`, nil, func(scan sqldb.Scan) error {
		var key string
		if err := scan(&key); err != nil {
			return err
		}
		return o.add(filepath.Join(o.base, filepath.FromSlash(key)))
	})
}

// objects makes files that all have the same bytes.
type objects struct {
	base, original string
	links          int
}

// maxLinks is less than ext4's limit of 65,000.
const maxLinks = 60_000

func (o *objects) add(path string) error {
	if o.links%maxLinks != 0 {
		err := os.Link(o.original, path)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Link(o.original, path))
		}
		o.links++
		return err
	}
	o.original = path
	o.links++
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, fmt.Appendf(nil, "%-*s", storetest.FillBytes, message(storetest.FillBytes/2)), 0o600))
}

// kind is the server with the crowd in it.
func (c crowd) kind(program, backend string) kind {
	start := func(ctx context.Context, dir string) (*server, error) {
		s, err := installed(program, backend, c.fill)(ctx, dir)
		if err != nil {
			return nil, err
		}
		if err := c.described(ctx, filepath.Join(dir, "site", "data", "mail")); err != nil {
			return nil, errors.Join(err, s.close())
		}
		return s, nil
	}
	return kind{name: names[backend], start: start, mailboxes: c.mailboxes, domain: "crowd.test", check: true}
}

// describing is how long a daemon may take to describe its mailboxes.
const describing = 5 * time.Minute

// described waits until the daemon has written the file beside the objects that says whose they are, for each mailbox. It does
// so once, with a flush for each; a site of so many mailboxes has not got them all a moment ago.
func (c crowd) described(ctx context.Context, mail string) error {
	ctx, cancel := context.WithTimeout(ctx, describing)
	defer cancel()
	for {
		files, err := filepath.Glob(filepath.Join(mail, "*", "*", "mailbox.json"))
		if err != nil || len(files) >= c.mailboxes {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d mailboxes are described: %w", len(files), c.mailboxes, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// fsck is how many objects a second the program compares with their messages, while the daemon runs.
func (s *site) fsck(ctx context.Context) (float64, error) {
	began := time.Now()
	out, err := tool(ctx, s.program, "fsck", "--config", s.config(), "--min-age", "1s", "--output", "json")
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	var report struct {
		Objects int64 `json:"objects"`
	}
	err = json.Unmarshal(out, &report)
	return float64(report.Objects) / took.Seconds(), err
}

// growing are sizes that are compared with one another.
type growing struct {
	backend string
	crowds  []crowd
}

// growth measures the whole daemon with more and more messages in 50 mailboxes, and with a middling number of them in
// more and more mailboxes.
func growth(b *bench) *part {
	var byMessages, byMailboxes []crowd
	for _, n := range b.messages {
		byMessages = append(byMessages, crowd{n, mailboxCount})
	}
	for _, n := range b.mailboxes {
		byMailboxes = append(byMailboxes, crowd{b.messages[len(b.messages)/2], n})
	}
	var all []growing
	p := &part{name: "growth"}
	for _, backend := range []string{sqldb.SQLite, sqldb.Postgres} {
		for _, crowds := range [][]crowd{byMessages, byMailboxes} {
			crowds = slices.DeleteFunc(slices.Clone(crowds), func(c crowd) bool { return !b.loads.MatchString(c.String()) })
			if len(crowds) > 0 && b.servers.MatchString(names[backend]) {
				all = append(all, growing{backend, crowds})
				p.steps += len(crowds) * b.repeat
			}
		}
	}
	p.run = func(ctx context.Context) (*table, error) {
		t := &table{columns: []string{"server", "stored before", "msg/s", "CPU µs/msg", "of it database", "p50 ms", "p99 ms", "fsck objects/s", "× rate", "× CPU", "goal"}}
		for _, g := range all {
			if err := b.grow(ctx, t, g); err != nil {
				return nil, err
			}
		}
		return t, nil
	}
	return p
}

// grow measures each size and adds a row for it, with its ratios to the first.
func (b *bench) grow(ctx context.Context, t *table, g growing) error {
	var kinds []kind
	for _, c := range g.crowds {
		k := c.kind(b.mairust, g.backend)
		k.name += ", " + c.String()
		kinds = append(kinds, k)
	}
	l := load{connections: 32, size: 4 << 10}
	runs, err := b.inTurn(ctx, l.String(), kinds, func(ctx context.Context, k kind) (figures, error) { return b.measure(ctx, k, l) })
	if err != nil {
		return err
	}
	first := median(runs[0])
	for i, c := range g.crowds {
		f := median(runs[i])
		row := []string{names[g.backend], c.String(), fmt.Sprintf("%.0f", f.rate), fmt.Sprintf("%.0f", f.allCPU()), fmt.Sprintf("%.0f", f.database),
			fmt.Sprintf("%.2f", f.p50), fmt.Sprintf("%.2f", f.p99), fmt.Sprintf("%.0f", f.checked)}
		if i > 0 {
			cost := f.allCPU() / first.allCPU()
			row = append(row, fmt.Sprintf("%.2f", f.rate/first.rate), fmt.Sprintf("%.2f", cost), verdict(fmt.Sprintf("CPU ≤ %g", flatness), cost <= flatness))
		}
		t.add(row...)
	}
	return nil
}
