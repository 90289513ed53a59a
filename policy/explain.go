package policy

import (
	"cmp"
	"slices"
	"strconv"
)

// Explanation says why a decision was as it was. It is stored as JSON of about 600 bytes; numbers are whole, scores
// and weights in millionths. What was zero is left out.
type Explanation struct {
	// Version is 1.
	Version int `json:"v"`
	// AtUS is the time of the decision.
	AtUS int64 `json:"at_us"`
	// On is mail, rcpt, end or an act by hand.
	On string `json:"on"`
	// Policy is Policy.Hash.
	Policy    string `json:"policy"`
	QueueHost string `json:"queue_host,omitempty"`
	QueueID   string `json:"queue_id,omitempty"`
	Mode      Mode   `json:"mode"`
	Action    Action `json:"action"`
	Would     Action `json:"would,omitempty"` // when it differs
	Reason    Reason `json:"reason,omitempty"`
	Before    Level  `json:"before"`
	After     Level  `json:"after"`

	// Score is the sum of the factors' shares.
	Score   int64    `json:"score"`
	Factors []Factor `json:"factors"`
	// Evidence is what is behind the factors, strongest first.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Corroborators are the second kinds of evidence: place, invalid, spam, url, malware, repeat.
	Corroborators []string `json:"corroborators,omitempty"`
	// Unknown is what could not be judged: place, spam, bounces, new.
	Unknown []string `json:"unknown,omitempty"`
	// ColdStart: there is too little history to compare with.
	ColdStart bool `json:"cold_start,omitempty"`
	// Degraded: filter, store or bounces was missing.
	Degraded []string `json:"degraded,omitempty"`
	// Trust is home (a place known for days), away (neither that nor new), new, cold (too little history to say) or
	// doubt (the content speaks against the account).
	Trust string `json:"trust"`
	// Country is where the client is (ISO 3166); empty when unknown.
	Country string `json:"country,omitempty"`
	// Limit is the plain limit or cap that was met.
	Limit *Limit `json:"limit,omitempty"`
	// Profile is the id of the bulk profile.
	Profile string `json:"profile,omitempty"`
	// Messages, Recipients and New are the counts of the last hour and the last 24 hours, this event included.
	Messages   Windows `json:"messages"`
	Recipients Windows `json:"recipients"`
	New        Windows `json:"new"`
}

// Windows are counts of the rolling hour and of the rolling 24 hours.
type Windows struct {
	Hour int64 `json:"h"`
	Day  int64 `json:"d"`
}

// Factor is one of rate, content and history.
type Factor struct {
	Name string `json:"name"`
	// Value is 0…1 in millionths; Share is Value times Weight.
	Value  int64 `json:"value"`
	Weight int64 `json:"weight"`
	Share  int64 `json:"share"`
}

// Evidence is one piece of a factor.
type Evidence struct {
	// Name is volume, new, spam, campaign, repeat (of a campaign that was forgiven once), invalid, newlist, persistence, url,
	// malware, place, strikes or hour.
	Name string `json:"name"`
	// Factor it belongs to.
	Factor string `json:"factor"`
	// Value is 0…1 in millionths, before its weight within the factor.
	Value int64 `json:"value"`
	// Raw is what was measured, in Unit; Usual is what this account has at its peak; Limit is where Value reaches 1.
	Raw   int64 `json:"raw"`
	Usual int64 `json:"usual,omitempty"`
	Limit int64 `json:"limit,omitempty"`
	// Unit is recipients, score (millionths), share (millionths), breaches, places or messages.
	Unit string `json:"unit"`
	// WindowSeconds is how far back Raw looks; 0 when it has no window.
	WindowSeconds int64 `json:"window_s,omitempty"`
	// Fingerprint of the campaign, in hexadecimal digits.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Kind says what is new about a place: country, network, or many of them at once (countries, networks). Countries are those
	// that it is about, as far as they are known.
	Kind      string   `json:"kind,omitempty"`
	Countries []string `json:"countries,omitempty"`
}

// Limit is a limit that was met.
type Limit struct {
	Reason Reason `json:"reason"`
	Count  int64  `json:"count"` // with the recipients of this event
	Max    int64  `json:"max"`
}

// kindNames are the words of Explanation.On.
var kindNames = map[Kind]string{
	KindMail: "mail", KindReserve: "rcpt", KindRefused: "refused", KindCommit: "end", KindRelease: "release",
	KindBounce: "bounce", KindStop: "stop", KindReenable: "reenable", KindSetLevel: "set_level",
	KindLearnLevel: "learn_level",
}

// explain tells what the decision was made of.
func (c *step) explain() *Explanation {
	x := &Explanation{
		Version: 1, AtUS: c.now, On: kindNames[c.e.Kind], Policy: c.p.hash, QueueHost: c.e.QueueHost, QueueID: c.e.QueueID,
		Mode: c.mode, Action: c.d.Action, Reason: c.d.Reason, Before: c.d.Before, After: c.d.After,
		Score: c.j.score, ColdStart: c.j.cold, Trust: trustNames[c.j.trust], Limit: c.limit,
		Country:  countryText(countryOf(c.e.Place.Country)),
		Messages: c.j.sums.windows(messages), Recipients: c.j.sums.windows(copies), New: c.j.sums.windows(fresh),
	}
	if c.d.Would != c.d.Action {
		x.Would = c.d.Would
	}
	if c.bulk != nil {
		x.Profile = c.bulk.ID
	}
	for i, value := range c.j.factors {
		weight := c.p.weights[i]
		x.Factors = append(x.Factors, Factor{Name: factorNames[i], Value: value, Weight: weight, Share: mul(weight, value)})
	}
	c.j.tell(x)
	x.Unknown = c.unknown()
	x.Degraded = c.e.Degraded.words()
	return x
}

// tell adds the evidence that there is, strongest first, and what corroborates.
func (j *judgement) tell(x *Explanation) {
	for i, m := range j.pieces {
		if j.second[i] {
			x.Corroborators = append(x.Corroborators, pieces[i].name)
		}
		if m.value <= 0 {
			continue
		}
		e := Evidence{
			Name: pieces[i].name, Factor: factorNames[pieces[i].factor], Value: m.value, Raw: m.raw, Usual: m.usual, Limit: m.limit,
			Unit: pieces[i].unit, WindowSeconds: m.windowUS / secondUS,
		}
		if m.print != 0 {
			e.Fingerprint = strconv.FormatUint(m.print, 16)
		}
		if i == newPlace {
			e.Kind, e.Countries = j.where.kind, j.where.texts()
		}
		x.Evidence = append(x.Evidence, e)
	}
	slices.SortStableFunc(x.Evidence, func(a, b Evidence) int { return cmp.Compare(b.Value, a.Value) })
}

// unknown is what could not be judged.
func (c *step) unknown() (list []string) {
	if !c.j.known || c.here == 0 {
		list = append(list, "place")
	}
	if c.e.Kind == KindCommit && !c.e.Content.SpamKnown {
		list = append(list, "spam")
	}
	if c.e.Degraded&NoBounces != 0 {
		list = append(list, "bounces")
	}
	if c.known.full() {
		list = append(list, "new")
	}
	return list
}

func (d Degraded) words() (list []string) {
	for i, word := range []string{"filter", "store", "bounces"} {
		if d&(1<<i) != 0 {
			list = append(list, word)
		}
	}
	return list
}
