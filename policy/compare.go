package policy

// Outcome is what a policy made, or would have made in mode enforce, of the events of one account.
type Outcome struct {
	// SoftUS and HardUS are the first times at a soft limit and at a suspension; 0 when there was none.
	SoftUS int64 `json:"soft_us,omitempty"`
	HardUS int64 `json:"hard_us,omitempty"`
	// Refused counts decisions that were not to allow: of MAIL, of recipients and of whole messages.
	Refused int64 `json:"refused"`
}

// Limited says that the account was limited or refused at all.
func (o Outcome) Limited() bool { return o.SoftUS > 0 || o.HardUS > 0 || o.Refused > 0 }

func (o *Outcome) add(nowUS int64, would Action, level Level) {
	if would != Allow {
		o.Refused++
	}
	if level == SoftLimit && o.SoftUS == 0 {
		o.SoftUS = nowUS
	}
	if level == HardLimit && o.HardUS == 0 {
		o.HardUS = nowUS
	}
}

// Comparison is a log decided again.
type Comparison struct {
	// Old is what was recorded, New what the policy of the comparison says.
	Old Outcome `json:"old"`
	New Outcome `json:"new"`
	// Decisions were compared; Missing are those between them that the log does not have. Differ had another action or
	// level.
	Decisions int64 `json:"decisions"`
	Missing   int64 `json:"missing"`
	Differ    int64 `json:"differ"`
	// Own were recorded under this very policy; of these Reproduced came out bit for bit the same.
	Own        int64 `json:"own"`
	Reproduced int64 `json:"reproduced"`
}

// Compare decides a log again under p.
func (l Log) Compare(p *Policy) (c Comparison) {
	for st := range l.Replay(p, nil) {
		r, d := &st.Record, &st.Decision
		c.Decisions++
		c.Missing += int64(st.Gap)
		c.Old.add(r.NowUS, r.Would, r.WouldLevel)
		c.New.add(r.NowUS, d.Would, d.WouldLevel)
		if d.Would != r.Would || d.WouldLevel != r.WouldLevel {
			c.Differ++
		}
		if r.Policy == p.hash[:8] {
			c.Own++
			if st.Same {
				c.Reproduced++
			}
		}
	}
	return c
}
