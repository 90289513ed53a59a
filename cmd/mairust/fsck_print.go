package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/store/fsck"
)

// fsckPrinter prints problems on out as they are found, and how far the work has come on side: as one line that changes on a
// terminal, else as a line now and then.
type fsckPrinter struct {
	out, side io.Writer
	options   fsckOptions
	terminal  bool
	// width of the line that stands on the terminal; 0 when none does.
	width int
	told  time.Time
	// problems are kept for JSON, up to mostProblems.
	problems []fsck.Problem
	leftOut  int64
}

// mostProblems bounds a JSON answer; the counts are of all.
const mostProblems = 10_000

// lineEvery is how often progress is written where it cannot be overwritten.
const lineEvery = 10 * time.Second

func newFsckPrinter(out, side io.Writer, o fsckOptions) *fsckPrinter {
	return &fsckPrinter{out: out, side: side, options: o, terminal: isTerminal(side), told: time.Now(), problems: []fsck.Problem{}}
}

func (p *fsckPrinter) tell(e fsck.Event) {
	switch {
	case e.Problem != nil && p.options.output == "json":
		if len(p.problems) < mostProblems {
			p.problems = append(p.problems, *e.Problem)
		} else {
			p.leftOut++
		}
	case e.Problem != nil:
		p.endLine()
		fmt.Fprintln(p.out, problemLine(*e.Problem))
	case e.Progress != nil:
		p.progress(*e.Progress)
	}
}

func problemLine(q fsck.Problem) string {
	state := "LEFT  "
	if q.Mended {
		state = "mended"
	}
	line := fmt.Sprintf("%s  %-19s  %s", state, q.Kind, stripControls(q.What))
	if q.Key != "" {
		line += "  " + q.Key
	}
	if q.Done != "" {
		line += "  (" + stripControls(q.Done) + ")"
	}
	return line
}

func (p *fsckPrinter) progress(at fsck.Progress) {
	line := progressLine(at)
	if p.terminal {
		fmt.Fprintf(p.side, "\r%-*s", p.width, line)
		p.width = max(p.width, len(line))
		return
	}
	if time.Since(p.told) < lineEvery {
		return
	}
	p.told = time.Now()
	fmt.Fprintf(p.side, "mairust fsck: %s\n", line)
}

func progressLine(at fsck.Progress) string {
	line := at.Phase + ":"
	if percent := at.Percent(); percent >= 0 {
		line += fmt.Sprintf(" %d %%,", percent)
	}
	line += fmt.Sprintf(" %d", at.Done)
	if at.Total > 0 {
		line += fmt.Sprintf(" of about %d", at.Total)
	}
	if at.TotalBytes > 0 {
		line += fmt.Sprintf(", %d of %d MB", at.DoneBytes/1e6, at.TotalBytes/1e6)
	}
	if at.Problems > 0 {
		line += fmt.Sprintf(", %d problems", at.Problems)
	}
	if at.Left > 0 {
		line += ", " + at.Left.Round(time.Second).String() + " left"
	}
	return line
}

// endLine clears the line on the terminal.
func (p *fsckPrinter) endLine() {
	if p.width > 0 {
		fmt.Fprintf(p.side, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}

// end prints the result.
func (p *fsckPrinter) end(r fsck.Report, code int) error {
	p.endLine()
	if p.options.output == "json" {
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			fsck.Report
			Exit     int            `json:"exit"`
			Problems []fsck.Problem `json:"problems"`
			LeftOut  int64          `json:"problems_left_out"`
		}{r, code, p.problems, p.leftOut})
	}
	_, err := io.WriteString(p.out, p.summary(r))
	return err
}

func (p *fsckPrinter) summary(r fsck.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d objects and %d messages compared", r.Objects, r.Messages)
	if r.Verified > 0 {
		fmt.Fprintf(&b, ", %d read whole", r.Verified)
	}
	if !r.VerifyBegan.IsZero() {
		fmt.Fprintf(&b, " (the others by a run of %s that was interrupted)", r.VerifyBegan.Local().Format(time.DateTime))
	}
	if r.Young > 0 {
		fmt.Fprintf(&b, ", %d objects too young to be missed", r.Young)
	}
	fmt.Fprintf(&b, ", in %s\n", r.Took.Round(time.Millisecond))
	if r.Aside > 0 {
		fmt.Fprintf(&b, "%d objects lie below orphan/: they belong to no mailbox, and go when storage.sweep.keep_orphans has passed since their files' times;\n"+
			"a message whose file seems older than the message itself stays, and the log of each sweep says what to do\n", r.Aside)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		fmt.Fprintf(&b, "  %-19s  %d found, %d mended\n", kind, r.Kinds[kind].Found, r.Kinds[kind].Mended)
	}
	switch {
	case r.Interrupted:
		b.WriteString("interrupted: nothing is half done, run it again to go on\n")
	case r.Found == 0:
		b.WriteString("all is well\n")
	case r.Left == 0:
		fmt.Fprintf(&b, "%d problems found, all mended\n", r.Found)
	case !p.options.Repair && !p.options.Rebuild:
		fmt.Fprintf(&b, "%d problems found; --repair mends what can be mended\n", r.Found)
	default:
		fmt.Fprintf(&b, "%d problems found, %d left\n", r.Found, r.Left)
	}
	if p.options.Rebuild && !r.Interrupted {
		b.WriteString("Users, passwords, API keys, flags, moves and deletions are not in objects, nor are stops and modes of senders:\n" +
			"make users again (mairust init, API), and deleted mail is back.\n")
	}
	return b.String()
}
