package postfix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Mode says how much of a site's mail MaiRust takes.
type Mode string

// The modes of Options.Mode.
const (
	// Replace delivers the chosen domains to MaiRust.
	Replace Mode = "replace"
	// Pilot delivers some recipients to MaiRust and leaves the others alone.
	Pilot Mode = "pilot"
	// Copy leaves delivery as it is and sends MaiRust a copy.
	Copy Mode = "copy"
)

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Replace, Pilot, Copy:
		return m, nil
	}
	return "", fmt.Errorf("unknown mode %q: use replace, pilot or copy", s)
}

// Options say what a Plan shall do.
type Options struct {
	// Mode is required.
	Mode Mode
	// LMTP and Lookup are where MaiRust listens, in Postfix's spelling: "inet:127.0.0.1:2424", "unix:PATH". Required.
	LMTP, Lookup string
	// Milter is the same for smtpd_milters; empty when mail is not to be scanned.
	Milter string
	// LocalMilter is a milter listener with the role local, for non_smtpd_milters; empty when there is none.
	LocalMilter string
	// MilterAction is what Postfix does while the milter is away (milter_default_action); tempfail when empty.
	MilterAction string
	// Domains are switched (replace) or copied; empty means every domain that both Postfix and MaiRust have.
	Domains []string
	// Recipients are switched in mode pilot.
	Recipients []Recipient
	// Directory answers which domains and recipients MaiRust has; nil when it does not run.
	Directory Directory
	// MaxMessageBytes is the limit of MaiRust's LMTP; 0 is none.
	MaxMessageBytes int64
	// RecipientDelimiter is that of MaiRust's LMTP.
	RecipientDelimiter string
	// Adapt is asked whether an entry of master.cf that would bypass MaiRust may be changed; nil changes all.
	Adapt func(Service) bool
}

// Plan is what has to be written to wire a site. It is made by Make and carried out by Host.Apply.
type Plan struct {
	Mode Mode
	// Domains are those that are switched or copied; Recipients those of a pilot.
	Domains, Recipients []string
	// Scanned says whether mail passes MaiRust's milter.
	Scanned bool
	// Settings are the changes, in the order of the files.
	Settings []Setting
	// Files are tables of our own, below the directory "mairust" of the configuration directory.
	Files []File
	// Notes are what a person should know.
	Notes []Note

	main   *MainCF
	master *MasterCF
}

// Setting is one changed entry.
type Setting struct {
	// File is main.cf or master.cf.
	File string
	// Name is a parameter, or a service such as "submission/inet".
	Name string
	// Line is the entry as it will be.
	Line string
	// Why says what it is for.
	Why string

	added []string // elements put into a list
}

// File is a table of our own.
type File struct {
	// Name is its name in our directory.
	Name string
	Text string
}

// Note is a remark about the site. Mend says what to do; it is empty when there is nothing to do.
type Note struct {
	Warn bool
	Text string
	Mend string
}

// ourDir holds our tables, backups and the record of what was changed, within the configuration directory.
const ourDir = "mairust"

// table is how main.cf names one of our files.
func table(kind, name string) string { return kind + ":$config_directory/" + ourDir + "/" + name }

// Errors of Make that a caller can test for.
var (
	// ErrNoDomain: none of Postfix's domains is MaiRust's.
	ErrNoDomain = errors.New("no domain to switch")
	// ErrNotAsked: MaiRust does not run, so it cannot be asked for its domains.
	ErrNotAsked = errors.New("the daemon of MaiRust does not answer, so it cannot say which domains it has")
)

// planner makes a Plan out of a Site.
type planner struct {
	*Plan
	site      *Site
	o         Options
	transport []string // lines of the transport table
	virtual   []string // chosen domains, by class
	local     []string
	uncertain bool // a warning says so
}

// Make plans the wiring of a site that has none of our settings (see Host.Undo). It changes nothing.
func Make(ctx context.Context, site *Site, o Options) (*Plan, error) {
	if o.MilterAction == "" {
		o.MilterAction = "tempfail"
	}
	p := &planner{site: site, o: o, Plan: &Plan{
		Mode: o.Mode, Scanned: o.Milter != "", main: site.Main.Clone(), master: site.Master.Clone(),
	}}
	var err error
	switch o.Mode {
	case Replace:
		err = p.replace(ctx)
	case Pilot:
		err = p.pilot(ctx)
	case Copy:
		err = p.copy(ctx)
	default:
		_, err = ParseMode(string(o.Mode))
	}
	if err != nil {
		return nil, err
	}
	p.route()
	p.needLMTP()
	p.scan()
	p.limits()
	p.mark()
	return p.Plan, nil
}

// Main and Master are the files as they will be.
func (p *Plan) Main() string { return p.main.String() }

// Master is master.cf as it will be.
func (p *Plan) Master() string { return p.master.String() }

func (p *planner) warn(text, mend string) {
	p.Notes = append(p.Notes, Note{Warn: true, Text: text, Mend: mend})
}

func (p *planner) note(format string, args ...any) {
	p.Notes = append(p.Notes, Note{Text: fmt.Sprintf(format, args...)})
}

// set changes a parameter of main.cf. added are elements of its list that are ours.
func (p *planner) set(name, value, why string, added ...string) {
	if now, ok := p.main.Get(name); ok && now == value {
		return
	}
	p.main.Set(name, value)
	p.Settings = append(p.Settings, Setting{
		File: mainName, Name: name, Line: strings.TrimSpace(p.main.Entry(name)), Why: why, added: added,
	})
}

// prepend puts an element before those of a list.
func (p *planner) prepend(name, element, why string) {
	old := p.raw(name)
	if slices.Contains(Fields(old), element) {
		return
	}
	p.set(name, listOf(element, old), why, element)
}

// raw is a parameter as the plan has it so far.
func (p *planner) raw(name string) string {
	if value, ok := p.main.Get(name); ok {
		return value
	}
	return p.site.Raw(name)
}

// listOf joins what is not empty by commas.
func listOf(elements ...string) string {
	return strings.Join(slices.DeleteFunc(elements, func(e string) bool { return e == "" }), ", ")
}

// service notes a changed or new entry of master.cf.
func (p *planner) service(key, why string) {
	p.Settings = append(p.Settings, Setting{
		File: masterName, Name: key, Line: strings.TrimRight(p.master.Entry(key), "\n"), Why: why,
	})
}

func (p *planner) file(name, about string, lines ...string) {
	text := "# " + about + "\n# Written by `mairust postfix apply`, which will overwrite it; `mairust postfix revert` removes it.\n" +
		strings.Join(lines, "\n") + "\n"
	p.Files = append(p.Files, File{Name: name, Text: text})
}

// The comments before what we add.
const (
	mainComment   = "# Added by `mairust postfix apply`; `mairust postfix revert` takes it out."
	masterComment = mainComment
)

// mark puts our comment before the first entry that was added to each file.
func (p *planner) mark() {
	p.main.chunks = markFirst(p.main.chunks, len(p.site.Main.chunks), mainComment)
	p.master.chunks = markFirst(p.master.chunks, len(p.site.Master.chunks), masterComment)
}

func markFirst(chunks []chunk, before int, comment string) []chunk {
	if len(chunks) <= before {
		return chunks
	}
	return slices.Insert(chunks, before, chunk{text: comment + "\n"})
}

// route writes the transport table, when a mode needs one.
func (p *planner) route() {
	if len(p.transport) == 0 {
		return
	}
	p.file("transport", "Where mail goes that is MaiRust's, before all other transport_maps.", p.transport...)
	p.prepend("transport_maps", table("texthash", "transport"), "the routes above all others")
}

// lmtp is the transport to MaiRust, for transport_maps and the like.
func (p *planner) lmtp() string { return "lmtp:" + p.o.LMTP }

// recipients is the table that knows MaiRust's mailboxes.
func (p *planner) recipients() string { return "socketmap:" + p.o.Lookup + ":mailboxes" }

// needLMTP adds Postfix's LMTP client where somebody has taken it out of master.cf.
func (p *planner) needLMTP() {
	if p.master.Entry("lmtp/unix") == "" {
		p.master.put("lmtp/unix", "lmtp      unix  -       -       n       -       -       lmtp\n")
		p.service("lmtp/unix", "Postfix's LMTP client")
	}
}

// limits sets and compares what bounds a message.
func (p *planner) limits() {
	if p.Mode == Replace || !p.usesLMTP() {
		p.set("lmtp_line_length_limit", "0", "messages reach MaiRust byte for byte; Postfix would break lines over 998 bytes")
	} else {
		p.warn("your own deliveries use LMTP, so lmtp_line_length_limit stays as it is: lines over 998 bytes are broken on their way to MaiRust",
			"set lmtp_line_length_limit = 0, if your LMTP server takes long lines")
	}
	p.compareSize()
	own, ours := p.site.Value("recipient_delimiter"), p.o.RecipientDelimiter
	if own != "" && ours != "" && own != ours {
		p.warn(fmt.Sprintf("recipient_delimiter is %q here and %q in MaiRust: user%sdetail is not found", own, ours, own[:1]),
			fmt.Sprintf("set lmtp.recipient_delimiter: %q", own))
	}
	if level := p.site.Value("lmtp_tls_security_level"); level != "" && level != "none" && level != "may" {
		p.warn("lmtp_tls_security_level is "+level+": Postfix will not speak to MaiRust's LMTP without TLS",
			"lmtp_tls_policy_maps with an entry for MaiRust's address, or TLS on that listener")
	}
}

func (p *planner) compareSize() {
	limit, ours := p.site.Value("message_size_limit"), p.o.MaxMessageBytes
	var n int64
	if _, err := fmt.Sscan(limit, &n); err != nil || ours == 0 || n > 0 && n <= ours {
		return
	}
	p.warn(fmt.Sprintf("message_size_limit is %s and lmtp.max_message_bytes %d: larger messages would be accepted and then bounced", limit, ours),
		fmt.Sprintf("set lmtp.max_message_bytes: 0, or message_size_limit = %d", ours))
}

// usesLMTP says whether the site delivers by LMTP without us.
func (p *planner) usesLMTP() bool {
	for _, name := range []string{"virtual_transport", "mailbox_transport", "local_transport", "relay_transport", "fallback_transport"} {
		if strings.HasPrefix(p.site.Value(name), "lmtp:") {
			return true
		}
	}
	return false
}

// isLiteral says whether an "inet:HOST:PORT" needs no name service, which a chrooted process may not have.
func isLiteral(address string) bool {
	host, _, err := net.SplitHostPort(strings.TrimPrefix(address, "inet:"))
	return err == nil && net.ParseIP(host) != nil
}
