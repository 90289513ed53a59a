// Command bench measures MaiRust's delivery beside its peer, Dovecot, and through Postfix, and how its cost grows. Every
// run of every server has a fresh file system; the servers are started by package lab. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	// lasting is how long each load takes.
	lasting               time.Duration
	repeat, diskMB        int
	parts, loads, servers *regexp.Regexp
	messages, mailboxes   []int
	mairust, out          string
}

func main() {
	beFlushingSink()
	beBusy()
	if err := ownMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := parse(os.Args[1:])
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stopped above
	}
}

// inside is set in the environment of the process that has a mount namespace of its own.
const inside = "MAIRUST_BENCH_INSIDE"

// ownMounts starts the program again with mounts of its own, which vanish with it however it ends. Who is not root
// mounts nothing.
func ownMounts() error {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		return nil
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	args := append([]string{"unshare", "--mount", "--"}, os.Args...)
	return syscall.Exec(unshare, args, append(os.Environ(), inside+"=1")) // #nosec G204 G702 -- ourselves
}

func parse(args []string) options {
	var o options
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	seconds := f.Float64("seconds", 8, "how long each load lasts")
	f.IntVar(&o.repeat, "repeat", 3, "how often each is measured; medians are reported")
	pattern := func(to **regexp.Regexp, name, usage string) {
		*to = regexp.MustCompile("")
		f.Func(name, "only "+name+" that match the `pattern` (regular expression, any case): "+usage, func(text string) (err error) {
			*to, err = regexp.Compile("(?i)" + text)
			return err
		})
	}
	pattern(&o.parts, "parts", "delivery, postfix, growth")
	pattern(&o.loads, "loads", "for example '4 KB, 32 kept', 'queue', 'messages in'")
	pattern(&o.servers, "servers", "for example 'dovecot|sqlite'")
	sizes := func(to *[]int, name, usage string, preset ...int) {
		*to = preset
		f.Func(name, "growth: `numbers` of "+usage, func(text string) (err error) {
			*to, err = numbers(text)
			return err
		})
	}
	sizes(&o.messages, "messages", "stored messages, separated by commas (default 10000,100000)", 10_000, 100_000)
	sizes(&o.mailboxes, "mailboxes", "mailboxes, separated by commas (default 10,1000)", 10, 1000)
	f.StringVar(&o.mairust, "mairust", "bin/mairust", "the `program` that is measured")
	f.StringVar(&o.out, "out", "", "Markdown `file` whose sections are replaced by the results")
	f.IntVar(&o.diskMB, "disk", -1, "size of the image that holds all files, in `MB`; 0 is plain directories; default by what is measured")
	_ = f.Parse(args) // it exits
	o.lasting = time.Duration(*seconds * float64(time.Second))
	return o
}

// numbers reads "1,2,3".
func numbers(text string) ([]int, error) {
	var list []int
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number above 0", field)
		}
		list = append(list, n)
	}
	return list, nil
}

// run measures, and writes the tables to out.
func run(ctx context.Context, o options, out, progressTo io.Writer) (err error) {
	if o.diskMB < 0 {
		o.diskMB = diskFor(o)
	}
	facts, err := machine(ctx, o)
	if err != nil {
		return err
	}
	b := &bench{lasting: o.lasting, repeat: o.repeat, loads: o.loads, servers: o.servers, mairust: o.mairust,
		messages: o.messages, mailboxes: o.mailboxes}
	parts := slices.DeleteFunc([]*part{delivery(b), throughPostfix(b), growth(b)}, func(p *part) bool { return !o.parts.MatchString(p.name) || p.steps == 0 })
	b.progress = progress{to: progressTo, start: time.Now()}
	for _, p := range parts {
		b.progress.steps += p.steps
	}
	if b.disk, err = newDisk(ctx, o.diskMB); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.disk.Close()) }()
	flushes, err := b.flushes(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts {
		t, err := p.run(ctx)
		if err != nil {
			return err
		}
		text := strings.Join([]string{facts, flushes, "", t.String()}, "\n")
		if _, err := fmt.Fprintf(out, "\n%s\n\n%s", p.name, text); err != nil {
			return err
		}
		if o.out != "" {
			if err := writeSection(o.out, p.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}
