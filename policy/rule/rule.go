package rule

import (
	"context"
	"fmt"

	"github.com/mairust/mairust/internal/mail"
)

// Set is an ordered list of rules. It does not change; all methods may be called at once.
type Set struct {
	rules []rule
}

// New makes rules ready. The error names the first bad rule, by index and name, and its field, for the person
// who wrote it. No rules make a Set that allows everything.
func New(rules []Options) (*Set, error) {
	s := &Set{}
	index := map[string]int{}
	for i, o := range rules {
		if o.Name == "" {
			o.Name = fmt.Sprintf("rule-%d", i+1)
		}
		if first, taken := index[o.Name]; taken {
			return nil, fmt.Errorf("rules[%d] (%s): name: rules[%d] has it already", i, o.Name, first)
		}
		index[o.Name] = i
		r, err := compile(o)
		if err != nil {
			return nil, fmt.Errorf("rules[%d] (%s): %w", i, mail.Clean(o.Name, 60), err)
		}
		s.rules = append(s.rules, r)
	}
	return s, nil
}

// Name is the source of the verdicts.
func (s *Set) Name() string { return "rules" }

// Check asks the rules in order, up to the first that matches and stops, and merges what those that match
// say. Reasons hold "rule:" and the name of each. Errors come from reading the message or from ctx.
func (s *Set) Check(ctx context.Context, m *mail.Message) (mail.Verdict, error) {
	f := &facts{msg: m}
	var found []mail.Verdict
	for i := range s.rules {
		if err := ctx.Err(); err != nil {
			return mail.Verdict{}, fmt.Errorf("check rules: %w", err)
		}
		r := &s.rules[i]
		ok, err := r.matches(f)
		if err != nil {
			return mail.Verdict{}, fmt.Errorf("check rule %s: %w", r.name, err)
		}
		if !ok {
			continue
		}
		found = append(found, r.verdict)
		if r.stop {
			break
		}
	}
	return mail.Merge(found...), nil
}

func (r *rule) matches(f *facts) (bool, error) {
	if !r.anyWay && f.msg.Direction != r.way {
		return false, nil
	}
	for _, t := range r.all {
		if ok, err := t(f); err != nil || !ok {
			return false, err
		}
	}
	for _, t := range r.none {
		if ok, err := t(f); err != nil || ok {
			return false, err
		}
	}
	return true, nil
}
