package postfix

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// State is the record of what was written to a configuration directory, kept in its file mairust/state.json.
type State struct {
	Version    int       `json:"version"`
	Applied    time.Time `json:"applied"`
	Mode       Mode      `json:"mode"`
	Scanned    bool      `json:"scanned"`
	Domains    []string  `json:"domains,omitempty"`
	Recipients []string  `json:"recipients,omitempty"`
	// ReloadPending says that Postfix may not have read yet what was written. It is false in the records of older versions.
	ReloadPending bool `json:"reload_pending,omitempty"`
	// Files are main.cf and master.cf.
	Files map[string]FileState `json:"files"`
	// Edits are the changed entries with what they were.
	Edits []Edit `json:"edits"`
	// Tables and Backups are files and directories of ours, below our directory.
	Tables  []string `json:"tables"`
	Backups []string `json:"backups"`
}

// FileState tells whether anybody else has changed a file since.
type FileState struct {
	// Original is the backup of the file without our settings, below our directory.
	Original string `json:"original"`
	// Ours are the digests (SHA-256, hex) of every text that was the original or became of it by our hand.
	Ours []string `json:"ours_sha256"`
}

// Edit is one changed entry.
type Edit struct {
	File string `json:"file"`
	Name string `json:"name"`
	// Before is the text of the entry, nil when there was none.
	Before *string `json:"before"`
	After  string  `json:"after"`
	// Added are the elements that were put into a list.
	Added []string `json:"added,omitempty"`
}

const (
	stateName    = "state.json"
	stateVersion = 1
)

// ErrNotApplied is what reading the state gives when nothing of ours was written.
var ErrNotApplied = errors.New("nothing of MaiRust is applied here")

// State reads the record. Errors: ErrNotApplied.
func (h *Host) State() (*State, error) {
	raw, err := os.ReadFile(h.path(ourDir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotApplied
	}
	if err != nil {
		return nil, fmt.Errorf("read what was applied: %w", err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read what was applied: %s: %w", h.path(ourDir, stateName), err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("read what was applied: %s is of version %d, this program knows %d", h.path(ourDir, stateName), s.Version, stateVersion)
	}
	return &s, nil
}

// newState records a plan over the files it starts from.
func (h *Host) newState(p *Plan, b *Baseline) (*State, error) {
	s := &State{
		Version: stateVersion, Applied: h.now().UTC(), Mode: p.Mode, Scanned: p.Scanned, Domains: p.Domains, Recipients: p.Recipients,
		ReloadPending: true, Files: map[string]FileState{},
	}
	if b.State != nil {
		s.Backups = b.State.Backups
	}
	base := map[string]interface{ Entry(string) string }{mainName: ParseMain(b.Main), masterName: ParseMaster(b.Master)}
	planned := map[string]interface{ Entry(string) string }{mainName: p.main, masterName: p.master}
	for _, c := range p.Settings {
		if slices.ContainsFunc(s.Edits, func(e Edit) bool { return e.File == c.File && e.Name == c.Name }) {
			continue // changed twice by one plan
		}
		e := Edit{File: c.File, Name: c.Name, After: planned[c.File].Entry(c.Name), Added: c.added}
		if before := base[c.File].Entry(c.Name); before != "" {
			e.Before = &before
		}
		s.Edits = append(s.Edits, e)
	}
	for _, f := range p.Files {
		s.Tables = append(s.Tables, f.Name)
	}
	return s, nil
}

// noteReload records that Postfix reads what was written.
func (h *Host) noteReload() error {
	s, err := h.State()
	switch {
	case isNotApplied(err):
		return nil
	case err != nil:
		return err
	case !s.ReloadPending:
		return nil
	}
	s.ReloadPending = false
	return h.writeState(s)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
