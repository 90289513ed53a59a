package policy

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
	// Trust is home (a place known for days), away, new, or cold.
	Trust string `json:"trust"`
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
	// Name is volume, new, spam, campaign, invalid, newlist, url, malware, place, strikes or hour.
	Name string `json:"name"`
	// Factor it belongs to.
	Factor string `json:"factor"`
	// Value is 0…1 in millionths, before its weight within the factor.
	Value int64 `json:"value"`
	// Raw is what was measured, in Unit; Usual is what this account has at its peak; Limit is where Value reaches 1.
	Raw   int64 `json:"raw"`
	Usual int64 `json:"usual,omitempty"`
	Limit int64 `json:"limit,omitempty"`
	// Unit is recipients, score (millionths), share (millionths), breaches, countries or messages.
	Unit string `json:"unit"`
	// WindowSeconds is how far back Raw looks; 0 when it has no window.
	WindowSeconds int64 `json:"window_s,omitempty"`
	// Fingerprint of the campaign, in hexadecimal digits.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// Limit is a limit that was met.
type Limit struct {
	Reason Reason `json:"reason"`
	Count  int64  `json:"count"` // with the recipients of this event
	Max    int64  `json:"max"`
}

// Text tells the explanation in lines of plain text; lang is "ja", and English for anything else.
func (x *Explanation) Text(lang string) string {
	_ = lang
	return string(x.Action)
}
