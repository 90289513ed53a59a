package mail

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Action is what is to become of a message. A greater action takes precedence over a smaller one.
type Action int

// The actions in rising precedence.
const (
	Allow      Action = iota // deliver as it is
	Tag                      // deliver with tags
	Quarantine               // deliver to the Quarantine folder
	Tempfail                 // refuse for now (4xx)
	Reject                   // refuse for good (5xx)
)

var actionWords = [...]string{"allow", "tag", "quarantine", "tempfail", "reject"}

// String gives the word used in configuration, scan headers, logs and metrics.
func (a Action) String() string {
	if a < 0 || int(a) >= len(actionWords) {
		return fmt.Sprintf("action(%d)", int(a))
	}
	return actionWords[a]
}

// ParseAction is the inverse of String.
func ParseAction(word string) (Action, error) {
	if i := slices.Index(actionWords[:], word); i >= 0 {
		return Action(i), nil
	}
	return Allow, fmt.Errorf("unknown action %q: use allow, tag, quarantine, tempfail or reject", Clean(word, 40))
}

// Verdict is what one source, or all of them together, say of a message.
type Verdict struct {
	Action Action
	// Tags are short lower-case words, without duplicates once merged.
	Tags []string
	// Score is the spam score on rspamd's scale; 0 when the source gives none.
	Score float64
	// Reply overrides the SMTP answer of a reject or tempfail; nil means the standard text.
	Reply *Reply
	// Edits are header changes that the source asks for, in order.
	Edits []Edit
	// Metadata is kept per source, as JSON.
	Metadata map[string]json.RawMessage
	// Reasons are short facts for the log and for people: rule names, symbols. Never message content.
	Reasons []string
}

// Reply is an SMTP answer.
type Reply struct {
	// Code is 4xx or 5xx.
	Code int
	// Enhanced is the RFC 3463 code, such as "5.7.1".
	Enhanced string
	// Text is one line of printable ASCII.
	Text string
}

// String gives the reply as it stands on the wire.
func (r Reply) String() string { return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text) }

// Edit is one change to the header of a message.
type Edit struct {
	Op   EditOp
	Name string
	// Value is the new value without leading space; unused by RemoveField.
	Value string
	// Index counts fields of this name from 1 for RemoveField and ReplaceField (0 = every one); for
	// InsertField it is the position from the top, 0 being first.
	Index int
}

// EditOp says what an Edit does.
type EditOp int

// The edits.
const (
	AppendField EditOp = iota
	InsertField
	ReplaceField
	RemoveField
)

// Merge combines the verdicts of all sources into one: the greatest action and its reply, all tags,
// the maximum score, all edits in order, and the metadata of each source. Of two equal actions the
// earlier one gives the reply, so that the order of checks decides and not their speed.
func Merge(verdicts ...Verdict) Verdict {
	var m Verdict
	for i, v := range verdicts {
		if v.Action > m.Action {
			m.Action, m.Reply = v.Action, v.Reply
		}
		if i == 0 || v.Score > m.Score {
			m.Score = v.Score
		}
		for _, t := range v.Tags {
			if !slices.Contains(m.Tags, t) {
				m.Tags = append(m.Tags, t)
			}
		}
		m.Edits = append(m.Edits, v.Edits...)
		m.Reasons = append(m.Reasons, v.Reasons...)
		for source, raw := range v.Metadata {
			if m.Metadata == nil {
				m.Metadata = map[string]json.RawMessage{}
			}
			m.Metadata[source] = raw
		}
	}
	return m
}
