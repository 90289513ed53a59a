package policy

// Decision is what Decide made of an event.
type Decision struct {
	// Action is what the sender meets.
	Action Action
	// Would is what Action would be in mode enforce; it differs only in shadow.
	Would Action
	// Shadow says that Would was suppressed.
	Shadow bool
	// Reason says why the message was not allowed (or would not be).
	Reason Reason
	// Before and After are the account's levels, as far as they take effect in this mode.
	Before, After Level
	// WouldLevel is After in mode enforce.
	WouldLevel Level
	// Notice says what an administrator should be told.
	Notice Notice
	// Score is the account's score after the event, in millionths.
	Score int64
	// New is how many of the event's recipients the account never wrote to before; Refused how many it did not get.
	New int64
	// Seq is the number of this event in the account's life: 1 and up without gaps. 0 when the state did not change.
	Seq uint64
	// Explanation is there at each end of a message, each refusal and each change of level, else nil.
	Explanation *Explanation
}

// Reason says which rule refused; empty when none did.
type Reason string

// The reasons.
const (
	ReasonNone            Reason = ""
	ReasonSuspended       Reason = "suspended"
	ReasonDomainSuspended Reason = "domain_suspended"
	ReasonSoftLimit       Reason = "soft_limit"
	ReasonUserHour        Reason = "user_per_hour"
	ReasonUserDay         Reason = "user_per_day"
	ReasonDomainHour      Reason = "domain_per_hour"
	ReasonTenantHour      Reason = "tenant_per_hour"
	ReasonProfile         Reason = "profile_max_rate"
)

// Notice is a change that somebody should hear of.
type Notice string

// The notices.
const (
	NoticeNone           Notice = ""
	NoticeSoftLimit      Notice = "soft_limit"
	NoticeSuspended      Notice = "suspended"
	NoticeUncorroborated Notice = "uncorroborated" // over the hard threshold, but on one kind of evidence only
	NoticeReenabled      Notice = "reenabled"      // by time, to the soft limit
	NoticeNormal         Notice = "normal"         // after the clean hours
)

// Decide applies e to s at nowUS (µs since 1970). It changes nothing but what it returns; a zero State is an
// account that nothing is known of. A nowUS before the state's last one counts as that one. Calls may run at once.
func Decide(s State, e Event, p *Policy, nowUS int64) (Decision, State) {
	_, _, _ = e, p, nowUS
	return Decision{Action: Allow, Would: Allow, Before: Normal, After: Normal, WouldLevel: Normal}, s
}
