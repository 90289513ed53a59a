package postfix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Diff is what has to change for both files to be as the texts say, in unified format; empty when nothing has to.
func (h *Host) Diff(b *Baseline, main, master string) string {
	var out strings.Builder
	for _, f := range []struct{ name, old, new string }{{mainName, b.CurrentMain, main}, {masterName, b.CurrentMaster, master}} {
		text := string(diff.Diff(h.path(f.name), []byte(f.old), h.path(f.name)+" (new)", []byte(f.new)))
		_, text, _ = strings.Cut(text, "\n") // the line "diff old new"
		out.WriteString(text)
	}
	return out.String()
}

// Changed says whether anything has to be written for a plan.
func (h *Host) Changed(b *Baseline, p *Plan) bool {
	if b.State == nil || b.CurrentMain != p.Main() || b.CurrentMaster != p.Master() || len(b.State.Tables) != len(p.Files) {
		return true
	}
	return slices.ContainsFunc(p.Files, func(f File) bool {
		has, err := os.ReadFile(h.path(ourDir, f.Name))
		return err != nil || string(has) != f.Text
	})
}

// Try has Postfix check the files as a plan would write them, in a directory of their own (postfix check).
func (h *Host) Try(ctx context.Context, p *Plan) error {
	dir, err := h.scratch(p.Main(), p.Master())
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	ours := filepath.Join(dir, ourDir)
	if err := os.Mkdir(ours, 0o700); err != nil {
		return fmt.Errorf("copy configuration: %w", err)
	}
	for _, f := range p.Files {
		if err := os.WriteFile(filepath.Join(ours, f.Name), []byte(f.Text), 0o600); err != nil {
			return fmt.Errorf("copy configuration: %w", err)
		}
	}
	if _, err := run(ctx, nil, "postfix", "-c", dir, "check"); err != nil {
		return fmt.Errorf("postfix refuses the new configuration, so nothing was changed: %w", err)
	}
	return nil
}

// Apply writes a plan: backup, tables and record first, then main.cf and master.cf, each whole or not at all. A
// crash at any moment leaves something that Revert undoes. It returns where the backup is.
func (h *Host) Apply(ctx context.Context, b *Baseline, p *Plan) (backup string, err error) {
	if err := h.Try(ctx, p); err != nil {
		return "", err
	}
	if err := h.unchanged(b); err != nil {
		return "", err
	}
	if err := os.MkdirAll(h.path(ourDir), 0o755); err != nil { // #nosec G301 -- Postfix's daemons read the tables
		return "", fmt.Errorf("apply: %w", err)
	}
	if err := os.Chmod(h.path(ourDir), 0o755); err != nil { // #nosec G302 -- the same, whatever the umask
		return "", fmt.Errorf("apply: %w", err)
	}
	s, err := h.newState(p, b)
	if err != nil {
		return "", err
	}
	if backup, err = h.backup(s, b); err != nil {
		return "", err
	}
	h.recordFiles(s, b, p, backup)
	for _, f := range p.Files {
		if err := writeFile(h.path(ourDir, f.Name), f.Text, h.path(mainName)); err != nil {
			return backup, err
		}
	}
	if err := h.writeState(s); err != nil {
		return backup, err
	}
	if err := h.write(b, p.Main(), p.Master()); err != nil {
		return backup, err
	}
	return h.path(ourDir, backup), h.dropTables(b.State, s.Tables)
}

// unchanged refuses to overwrite what somebody wrote since the files were read.
func (h *Host) unchanged(b *Baseline) error {
	for name, text := range map[string]string{mainName: b.CurrentMain, masterName: b.CurrentMaster} {
		now, err := os.ReadFile(h.path(name))
		if err != nil {
			return fmt.Errorf("read Postfix's configuration: %w", err)
		}
		if string(now) != text {
			return fmt.Errorf("%s was changed in the meantime: nothing was written; run the command again", h.path(name))
		}
	}
	return nil
}

// backup keeps both files without our settings, unless the last backup is just that.
func (h *Host) backup(s *State, b *Baseline) (string, error) {
	if b.State != nil && b.Exact {
		return filepath.Dir(b.State.Files[mainName].Original), nil
	}
	name := "backup-" + s.Applied.Format("20060102T150405Z")
	for i := 2; ; i++ {
		err := os.Mkdir(h.path(ourDir, name), 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("backup: %w", err)
		}
		name = fmt.Sprintf("backup-%s-%d", s.Applied.Format("20060102T150405Z"), i)
	}
	s.Backups = append(s.Backups, name)
	for file, text := range map[string]string{mainName: b.Main, masterName: b.Master} {
		if err := writeFile(h.path(ourDir, name, file), text, h.path(file)); err != nil {
			return "", fmt.Errorf("backup: %w", err)
		}
	}
	return name, nil
}

// recordFiles notes every text of the files that a revert may replace by the backup: the backup itself, what a plan
// before this wrote, and what this one writes.
func (h *Host) recordFiles(s *State, b *Baseline, p *Plan, backup string) {
	for _, f := range []struct{ name, base, now, next string }{
		{mainName, b.Main, b.CurrentMain, p.Main()}, {masterName, b.Master, b.CurrentMaster, p.Master()},
	} {
		ours := []string{digest(f.base), digest(f.next)}
		if b.State != nil && b.Exact {
			ours = append(ours, digest(f.now))
		}
		slices.Sort(ours)
		s.Files[f.name] = FileState{Original: filepath.Join(backup, f.name), Ours: slices.Compact(ours)}
	}
}

func (h *Host) writeState(s *State) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("record what was applied: %w", err)
	}
	return writeFile(h.path(ourDir, stateName), string(raw)+"\n", h.path(mainName))
}

// write replaces the files that differ.
func (h *Host) write(b *Baseline, main, master string) error {
	for _, f := range []struct{ name, now, next string }{{mainName, b.CurrentMain, main}, {masterName, b.CurrentMaster, master}} {
		if f.now == f.next {
			continue
		}
		if err := writeFile(h.path(f.name), f.next, h.path(f.name)); err != nil {
			return err
		}
	}
	return nil
}

// dropTables removes tables of an earlier plan that are not in use any more.
func (h *Host) dropTables(s *State, keep []string) error {
	if s == nil {
		return nil
	}
	for _, name := range without(s.Tables, keep) {
		if err := os.Remove(h.path(ourDir, filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove table: %w", err)
		}
	}
	return nil
}

// Revert writes the files without our settings and removes what is ours. Backups stay when the files are not exactly
// what they were, and all of our files stay while something still names them (see Baseline.Clean).
func (h *Host) Revert(b *Baseline) error {
	if b.State == nil {
		return ErrNotApplied
	}
	if err := h.unchanged(b); err != nil {
		return err
	}
	if err := h.write(b, b.Main, b.Master); err != nil {
		return err
	}
	if !b.Clean() {
		return nil
	}
	if err := h.dropTables(b.State, nil); err != nil {
		return err
	}
	if b.Exact {
		for _, name := range b.State.Backups {
			if err := os.RemoveAll(h.path(ourDir, filepath.Base(name))); err != nil {
				return fmt.Errorf("remove backup: %w", err)
			}
		}
	}
	if err := os.Remove(h.path(ourDir, stateName)); err != nil {
		return fmt.Errorf("remove record: %w", err)
	}
	_ = os.Remove(h.path(ourDir)) // only when nothing is in it
	return nil
}

func isNotApplied(err error) bool { return errors.Is(err, ErrNotApplied) }
