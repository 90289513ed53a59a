package postfix

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Baseline is a configuration without our settings.
type Baseline struct {
	// Main and Master are the files without our settings; CurrentMain and CurrentMaster as they are.
	Main, Master               string
	CurrentMain, CurrentMaster string
	// State is the record of what is applied; nil when nothing is.
	State *State
	// Exact says that both files are byte for byte what they were before. It is false when somebody else changed
	// one since; then only our settings were taken out, and Notes tell what could not be.
	Exact bool
	Notes []Note
}

// Undo takes our settings out of the configuration, in memory.
func (h *Host) Undo() (*Baseline, error) {
	main, err := os.ReadFile(h.path(mainName))
	if err != nil {
		return nil, fmt.Errorf("read Postfix's configuration: %w", err)
	}
	master, err := os.ReadFile(h.path(masterName))
	if err != nil {
		return nil, fmt.Errorf("read Postfix's configuration: %w", err)
	}
	b := &Baseline{
		Main: string(main), Master: string(master), CurrentMain: string(main), CurrentMaster: string(master), Exact: true,
	}
	if b.State, err = h.State(); err != nil {
		if b.State == nil && isNotApplied(err) {
			return b, nil
		}
		return nil, err
	}
	var ok bool
	if b.Main, ok = h.original(b.State, mainName, b.CurrentMain); !ok {
		b.undoMain()
	}
	if b.Master, ok = h.original(b.State, masterName, b.CurrentMaster); !ok {
		b.undoMaster()
	}
	b.leftovers()
	return b, nil
}

// original is the backup of a file, when nobody but us has changed the file since.
func (h *Host) original(s *State, name, current string) (string, bool) {
	f := s.Files[name]
	if !slices.Contains(f.Ours, digest(current)) {
		return current, false
	}
	text, err := os.ReadFile(h.path(ourDir, f.Original))
	if err != nil || !slices.Contains(f.Ours, digest(string(text))) {
		return current, false // the backup is gone or was changed: go by the record
	}
	return string(text), true
}

func (b *Baseline) warn(text, mend string) {
	b.Notes = append(b.Notes, Note{Warn: true, Text: text, Mend: mend})
}

// undoMain takes our edits of main.cf back one by one.
func (b *Baseline) undoMain() {
	m := ParseMain(b.CurrentMain)
	b.undoEdits(mainName, m, func(e Edit) { b.undoList(m, e) })
	m.removeComment(mainComment)
	b.Main = m.String()
}

// undoEdits takes our edits of one file back, the last one first. changed is for an entry that others have changed.
func (b *Baseline) undoEdits(file string, f restorer, changed func(Edit)) {
	b.Exact = false
	b.Notes = append(b.Notes, Note{Text: file + " was changed by others since: their changes stay, and only MaiRust's settings are taken out"})
	for _, e := range slices.Backward(b.State.Edits) {
		if e.File != file {
			continue
		}
		now := f.Entry(e.Name)
		switch {
		case sameText(now, e.After):
			restore(f, e)
		case now == "", e.Before != nil && sameText(now, *e.Before):
		default:
			changed(e)
		}
	}
}

// restorer is a file whose entries can be put back.
type restorer interface {
	Entry(name string) string
	put(name, text string)
	Remove(name string)
}

func restore(m restorer, e Edit) {
	if e.Before == nil {
		m.Remove(e.Name)
		return
	}
	m.put(e.Name, strings.TrimRight(*e.Before, "\n")+"\n")
}

// undoList takes our elements out of a list that others have changed.
func (b *Baseline) undoList(m *MainCF, e Edit) {
	value, _ := m.Get(e.Name)
	fields := Fields(value)
	rest := without(fields, e.Added)
	if len(rest) == len(fields) {
		b.warn(e.Name+" was changed since and stays: "+value, "see whether it should go back to: "+strings.TrimSpace(deref(e.Before)))
		return
	}
	if len(rest) == 0 && e.Before == nil {
		m.Remove(e.Name)
		return
	}
	m.Set(e.Name, listOf(rest...))
}

func deref(s *string) string {
	if s == nil {
		return "(nothing: take it out)"
	}
	return *s
}

// undoMaster takes our edits of master.cf back one by one.
func (b *Baseline) undoMaster() {
	m := ParseMaster(b.CurrentMaster)
	b.undoEdits(masterName, m, func(e Edit) { b.undoService(m, e) })
	m.removeComment(masterComment)
	b.Master = m.String()
}

// undoService takes our overrides and our milter out of a service that others have changed.
func (b *Baseline) undoService(m *MasterCF, e Edit) {
	before, after, now := optionsOf(deref(e.Before)), optionsOf(e.After), optionsOf(m.Entry(e.Name))
	for name, ours := range after {
		if was, had := before[name]; had && was != ours && now[name] == ours {
			m.SetOption(e.Name, name, was)
		}
	}
	for _, s := range m.Services() {
		milters := Fields(s.Options["smtpd_milters"])
		if rest := without(milters, []string{"$" + milterName}); s.Key() == e.Name && len(rest) < len(milters) {
			m.SetOption(e.Name, "smtpd_milters", strings.Join(rest, ","))
		}
	}
	b.warn("the service "+e.Name+" of master.cf was changed since: look at it", "before it was:\n"+strings.TrimRight(deref(e.Before), "\n"))
}

// optionsOf are the overrides of the only entry in a text; none when it has no entry.
func optionsOf(text string) map[string]string {
	for _, s := range ParseMaster(text).Services() {
		return s.Options
	}
	return nil
}

// leftovers warns of what still names our files, services or parameters.
func (b *Baseline) leftovers() {
	for _, f := range []struct{ name, text string }{{mainName, b.Main}, {masterName, b.Master}} {
		for i, line := range slices.Collect(strings.Lines(f.text)) {
			if namesOurs(line) {
				b.warn(fmt.Sprintf("%s line %d still names what is MaiRust's: %s", f.name, i+1, strings.TrimSpace(line)), "take it out by hand, then revert again")
			}
		}
	}
}

// Clean says whether nothing names our files, services or parameters any more, so that they can go.
func (b *Baseline) Clean() bool {
	lines := slices.Concat(slices.Collect(strings.Lines(b.Main)), slices.Collect(strings.Lines(b.Master)))
	return !slices.ContainsFunc(lines, namesOurs)
}

// namesOurs says whether a line does that Postfix reads.
func namesOurs(line string) bool {
	if isComment(line) {
		return false
	}
	for _, ours := range []string{"$config_directory/" + ourDir + "/", "$mairust_", "${mairust_", keepService + ":"} {
		if strings.Contains(line, ours) {
			return true
		}
	}
	return false
}
