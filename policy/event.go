package policy

// Kind says what happened.
type Kind uint8

// The kinds of events.
const (
	// KindMail is MAIL FROM. It takes Place.
	KindMail Kind = iota + 1
	// KindReserve is RCPT: it reserves the one recipient in Recipients for Transaction. It takes Place and Scope.
	KindReserve
	// KindRefused is a recipient that Postfix refused; only DSN 5.1.x counts.
	KindRefused
	// KindCommit is the end of a message: what Transaction reserved is sent, if the decision allows it. Recipients
	// are those that were accepted, none when the filter refused the message: then it is judged by what was found in it, and
	// not sent. It takes Place, Scope and Content.
	KindCommit
	// KindRelease gives back what Transaction reserved and did not commit: ABORT, a lost connection, a message that
	// somebody else refused. For an unknown transaction it does nothing.
	KindRelease
	// KindBounce is a failed delivery of a recipient of an earlier message; only DSN 5.1.x counts.
	KindBounce
	// KindStop is a suspension by hand. It takes UntilUS.
	KindStop
	// KindReenable ends a suspension: to the soft limit, or to Level Normal, with what happened so far forgiven once. It takes
	// Cap and UntilUS.
	KindReenable
	// KindSetLevel puts the account at Level by hand, for instance at normal or at a soft limit with Cap. It takes UntilUS.
	KindSetLevel
	// KindLearnLevel puts the account at a Level that another engine decided, and that holds as its own would: in enforce only.
	// It takes UntilUS, Cap and SinceUS.
	KindLearnLevel
)

// Event is one thing that happened to an account. Only Kind and Account are always needed; each kind says what
// else it takes. Addresses are never in it: recipients are keyed hashes.
type Event struct {
	Kind Kind
	// Account and Tenant say whose it is; they choose bulk profile and mode. They are not part of the encoding.
	Account Account
	Tenant  string
	// Mode overrides the policy's for this account (from the database); empty is the policy's.
	Mode Mode
	// Transaction is a random number other than 0 for each MAIL FROM.
	Transaction uint64
	// Recipients are keyed hashes of normalised addresses, each accepted copy once; at most MaxRecipients.
	Recipients []uint64
	// DSN is the enhanced status code of a refused or bounced recipient, as "5.1.1".
	DSN string

	Place   Place
	Scope   Scope
	Content Content

	// Level, UntilUS and Cap are for acts by hand. UntilUS ends a level (0: a stop never, a soft limit after its clean
	// hours); Cap is the recipients an hour while the soft limit lasts (0: as configured). SinceUS is when another engine
	// gave the level; 0, or later than now, is now.
	Level   Level
	UntilUS int64
	Cap     int64
	SinceUS int64

	// Degraded says what the caller could not know.
	Degraded Degraded
	// QueueHost and QueueID of the message, for the explanation only.
	QueueHost string
	QueueID   string
}

// MaxRecipients is how many recipients of one event are looked at. More than were reserved for a message count all
// the same; the bound keeps a record within 16 KiB.
const MaxRecipients = 1500

// bounded is e with every number within what records can hold, so that replay sees what was decided on.
func (e Event) bounded() Event {
	e.Recipients = e.Recipients[:min(len(e.Recipients), MaxRecipients)]
	e.Scope.DomainHour = min(max(e.Scope.DomainHour, 0), maxUS)
	e.Scope.TenantHour = min(max(e.Scope.TenantHour, 0), maxUS)
	e.Content.Spam = min(max(e.Content.Spam, -maxUS), maxUS)
	e.Content.SizeBytes = min(max(e.Content.SizeBytes, 0), maxUS)
	e.UntilUS = min(max(e.UntilUS, 0), maxUS)
	e.Cap = min(max(e.Cap, 0), maxCount)
	e.SinceUS = min(max(e.SinceUS, 0), maxUS)
	for _, text := range []*string{&e.DSN, &e.Place.Country, &e.QueueHost, &e.QueueID} {
		*text = (*text)[:min(len(*text), maxText)]
	}
	return e
}

// Place is where the client is.
type Place struct {
	// Country is the ISO 3166 code of two letters; empty when unknown.
	Country string
	// Network is NetworkOf the client address; 0 when unknown.
	Network uint64
}

// Scope is what surrounds the account at this moment.
type Scope struct {
	// DomainHour and TenantHour are the copies of the rolling hour before this recipient, reserved ones included,
	// without those of bulk profiles; 0 when not counted.
	DomainHour int64
	TenantHour int64
	// DomainStopped is a stop of the whole domain by hand.
	DomainStopped bool
}

// Content is what is known of a message at its end.
type Content struct {
	// Spam is the spam filter's score in millionths of its scale (rspamd: 6.5 is 6_500_000); SpamKnown is false when
	// no filter answered.
	Spam      int64
	SpamKnown bool
	// Malware and ListedURL are the filter's findings.
	Malware   bool
	ListedURL bool
	// Fingerprint is the same for bodies that are the same but for salutation and the like; 0 when unknown.
	Fingerprint uint64
	// SizeBytes of the whole message.
	SizeBytes int64
}

// Degraded is a set of what is missing; such a decision has half the soft cap, and nothing missing is held
// against the sender.
type Degraded uint8

// What may be missing.
const (
	NoFilter  Degraded = 1 << iota // the spam filter did not answer
	NoStore                        // the shared state did not answer: this node's own is used
	NoBounces                      // no bounce feed of this Postfix host
)
