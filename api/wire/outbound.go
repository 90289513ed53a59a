package wire

import "time"

// OutboundAccount is a sender, and what was last decided about it as a whole.
type OutboundAccount struct {
	TenantID string `json:"tenant_id"`
	Account  string `json:"account" example:"tanaka@example.jp" doc:"The login in lower case, or the client address of a trusted network."`
	Level    string `json:"level" enum:"normal,soft_limit,hard_limit" doc:"hard_limit: sending is stopped."`
	// Mode is empty when the account has none of its own.
	Mode string `json:"mode,omitempty" enum:"off,shadow,enforce" doc:"The account's own mode; absent when that of its tenant or the configuration holds."`
	// Act is what brought the account to this level.
	Act       string     `json:"act,omitempty" example:"auto_suspend" doc:"suspend, release, extend, limit or mode by hand; auto_suspend, auto_limit, auto_reenable or recover by the engine."`
	Automatic bool       `json:"automatic" doc:"The engine brought it to this level, not a person."`
	Since     *time.Time `json:"since,omitempty"`
	Until     *time.Time `json:"until,omitempty" doc:"When the level ends by itself; absent for never."`
	// Reason, Ticket and By are for staff only.
	Reason     string     `json:"reason,omitempty" doc:"For staff only, like ticket and by."`
	Ticket     string     `json:"ticket,omitempty"`
	By         string     `json:"by,omitempty"`
	CapPerHour int64      `json:"cap_per_hour,omitempty" doc:"Recipients an hour that a soft limit allows; absent when as configured."`
	DecisionID string     `json:"decision_id,omitempty" doc:"The decision that brought it to this level."`
	Revision   int64      `json:"revision" doc:"Rises with every change; acts may name the one they were decided on."`
	ChangedAt  *time.Time `json:"changed_at,omitempty"`
	SentAt     *time.Time `json:"sent_at,omitempty" doc:"The last decision about something that it sent or tried to."`
}

// OutboundAccountDetail is an account with what it did.
type OutboundAccountDetail struct {
	OutboundAccount
	EffectiveMode string `json:"effective_mode,omitempty" enum:"off,shadow,enforce" doc:"The mode that holds for it; absent where the engine is unknown."`
	InheritedMode string `json:"inherited_mode,omitempty" enum:"off,shadow,enforce" doc:"The mode that would hold without one of its own; absent where the engine is unknown."`
	// Reply is what the next MAIL FROM gets; empty when mail goes out.
	Reply string `json:"reply,omitempty" doc:"What the next MAIL FROM is refused with, to the letter; absent when it is not."`
	// DomainStop is there when the whole domain is stopped.
	DomainStop *OutboundDomain `json:"domain_stop,omitempty"`
	// Hour and Day are the sums of the last hour and the last 24 hours.
	Hour OutboundCounts `json:"hour"`
	Day  OutboundCounts `json:"day"`
	// Days are the last 30 days that are summed up, oldest first.
	Days    []OutboundColumn `json:"days" nullable:"false" doc:"Days in UTC, the last 30 that are summed up, oldest first."`
	Profile string           `json:"profile,omitempty" doc:"The bulk profile that the account belongs to."`
}

// OutboundCounts are sums over decisions. Recipients are copies.
type OutboundCounts struct {
	Messages      int64 `json:"messages"`
	Recipients    int64 `json:"recipients"`
	NewRecipients int64 `json:"new_recipients" doc:"Recipients that the account had never written to."`
	Refused       int64 `json:"refused" doc:"Recipients refused because they do not exist (5.1.x)."`
	Bounced       int64 `json:"bounced" doc:"Recipients that bounced because they do not exist (5.1.x)."`
	Limited       int64 `json:"limited" doc:"Decisions that slowed or held mail."`
	Stopped       int64 `json:"stopped" doc:"Decisions that refused mail because sending was stopped."`
}

// OutboundColumn is one column of a plot.
type OutboundColumn struct {
	At time.Time `json:"at" doc:"When the column begins."`
	OutboundCounts
	Score float64 `json:"score" doc:"The highest score in it, 0 to 1."`
}

// OutboundSeries are the columns of a plot; columns without anything are left out.
type OutboundSeries struct {
	From        time.Time        `json:"from"`
	To          time.Time        `json:"to"`
	StepSeconds int64            `json:"step_seconds"`
	Columns     []OutboundColumn `json:"columns" nullable:"false"`
}

// OutboundPlace is an address that the account sent from.
type OutboundPlace struct {
	Client   string    `json:"client"`
	First    time.Time `json:"first" doc:"Within the time of the series."`
	Last     time.Time `json:"last"`
	Messages int64     `json:"messages"`
}

// OutboundDecision is one decision and the facts of the envelope it was about.
type OutboundDecision struct {
	ID            string    `json:"id"`
	At            time.Time `json:"at"`
	TenantID      string    `json:"tenant_id"`
	Account       string    `json:"account"`
	On            string    `json:"on" example:"end" doc:"mail (MAIL FROM), rcpt, refused (a recipient, by Postfix), end (of the message), bounce; stop, reenable or set_level for acts by hand, learn_level for what another node decided."`
	QueueHost     string    `json:"queue_host,omitempty"`
	QueueID       string    `json:"queue_id,omitempty"`
	Client        string    `json:"client,omitempty"`
	Country       string    `json:"country,omitempty" example:"JP" doc:"Where the client was, as an ISO 3166 code, by the database of countries of that time; absent when it is unknown."`
	MailFrom      string    `json:"mail_from,omitempty"`
	Messages      int64     `json:"messages" doc:"1 for a message that was let through."`
	Recipients    int64     `json:"recipients"`
	NewRecipients int64     `json:"new_recipients"`
	Refused       int64     `json:"refused"`
	Bounced       int64     `json:"bounced"`
	SizeBytes     int64     `json:"size_bytes,omitempty"`
	SpamScore     *float64  `json:"spam_score,omitempty" doc:"rspamd's; absent when it is unknown."`
	Fingerprint   string    `json:"fingerprint,omitempty" doc:"The same for the same text."`
	Action        string    `json:"action" enum:"allow,refuse_rate,refuse_suspended,hold"`
	Reason        string    `json:"reason,omitempty" doc:"The rule behind the action."`
	LevelBefore   string    `json:"level_before"`
	LevelAfter    string    `json:"level_after"`
	Would         string    `json:"would,omitempty" doc:"What action would have been in mode enforce, where it differs."`
	WouldLevel    string    `json:"would_level,omitempty" doc:"What level_after would have been in mode enforce, where it differs."`
	Mode          string    `json:"mode"`
	Score         float64   `json:"score" doc:"0 to 1"`
	Reply         string    `json:"reply,omitempty" doc:"What the sender was told, to the letter."`
}

// OutboundEvent is one line of the history of an account or a tenant.
type OutboundEvent struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	TenantID string    `json:"tenant_id"`
	// Noun and Name say what it happened to.
	Noun        string     `json:"noun" enum:"account,domain,profile,tenant"`
	Name        string     `json:"name" doc:"The account, domain, profile or id of the tenant."`
	Act         string     `json:"act" example:"suspend" doc:"As in an account; also mode (mode is absent when its own was taken away), set or delete for a profile, and profile_join, profile_rate or profile_leave for an account of one."`
	Detail      string     `json:"detail,omitempty" doc:"Of a profile its rate; of an account and its profile the profile."`
	LevelBefore string     `json:"level_before,omitempty"`
	LevelAfter  string     `json:"level_after,omitempty"`
	Mode        string     `json:"mode,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Ticket      string     `json:"ticket,omitempty"`
	By          string     `json:"by,omitempty"`
	Automatic   bool       `json:"automatic"`
	Until       *time.Time `json:"until,omitempty"`
	CapPerHour  int64      `json:"cap_per_hour,omitempty"`
	DecisionID  string     `json:"decision_id,omitempty"`
}

// OutboundExplanation says why an account was stopped, or why one decision was as it was.
type OutboundExplanation struct {
	// Account is how it stands now.
	Account OutboundAccount `json:"account"`
	// Decision is what is explained; absent when a person stopped the account.
	Decision *OutboundDecision `json:"decision,omitempty"`
	// Text tells all of this in lines of plain text.
	Text string `json:"text" doc:"All of this in lines of plain text, in English or Japanese after Accept-Language."`
	// Sentence is the gist of it.
	Sentence string `json:"sentence" doc:"The gist of it in one or two sentences, in the same language."`

	Score    float64            `json:"score" doc:"0 to 1; the sum of the shares."`
	SoftAt   float64            `json:"soft_at,omitempty" doc:"The score at which a soft limit begins."`
	HardAt   float64            `json:"hard_at,omitempty" doc:"The score at which a suspension begins."`
	Factors  []OutboundFactor   `json:"factors" nullable:"false"`
	Evidence []OutboundEvidence `json:"evidence" nullable:"false" doc:"What is behind the factors, strongest first."`
	// Corroborators are the independent kinds of evidence.
	Corroborators []string       `json:"corroborators" nullable:"false" doc:"Independent kinds of evidence: place, invalid, spam, url, malware, repeat."`
	Unknown       []string       `json:"unknown" nullable:"false" doc:"What could not be judged: place, spam, bounces, new."`
	Degraded      []string       `json:"degraded" nullable:"false" doc:"What was missing: filter, store, bounces."`
	ColdStart     bool           `json:"cold_start" doc:"There was too little history to compare with."`
	Trust         string         `json:"trust,omitempty" enum:"home,away,new,doubt,cold" doc:"What the room for strangers rests on: a place known for days, one that is neither, a new one, none since the content speaks against the account, or too little history."`
	Country       string         `json:"country,omitempty" example:"JP" doc:"Where the client was, as an ISO 3166 code; absent when it is unknown."`
	Limit         *OutboundLimit `json:"limit,omitempty" doc:"The plain limit or cap that was met."`
	Profile       string         `json:"profile,omitempty"`
	Policy        string         `json:"policy,omitempty" doc:"The hash of the policy that decided."`
	// Hour and Day are what the engine had counted by then.
	Hour OutboundWindow `json:"hour"`
	Day  OutboundWindow `json:"day"`

	// Groups are the messages behind it, grouped by their text.
	Groups []OutboundGroup `json:"groups" nullable:"false" doc:"The messages of the hour before and the minute after, grouped by text, largest first."`
	// Reply is what the sender saw.
	Reply  string          `json:"reply,omitempty" doc:"What the sender saw, to the letter."`
	Series OutboundSeries  `json:"series" doc:"Columns of five minutes around the decision."`
	Places []OutboundPlace `json:"places" nullable:"false" doc:"Where it was sent from in the time of the series."`
}

// OutboundWindow is what the engine counted in a rolling window.
type OutboundWindow struct {
	Messages      int64 `json:"messages"`
	Recipients    int64 `json:"recipients"`
	NewRecipients int64 `json:"new_recipients"`
}

// OutboundFactor is one of rate, content and history.
type OutboundFactor struct {
	Name   string  `json:"name" enum:"rate,content,history"`
	Value  float64 `json:"value" doc:"0 to 1"`
	Weight float64 `json:"weight"`
	Share  float64 `json:"share" doc:"value times weight: its part of the score"`
}

// OutboundEvidence is one piece of a factor.
type OutboundEvidence struct {
	Name   string  `json:"name" example:"volume" doc:"volume, new, spam, campaign, repeat, invalid, newlist, url, malware, place, strikes or hour."`
	Factor string  `json:"factor" enum:"rate,content,history"`
	Value  float64 `json:"value" doc:"0 to 1, before its weight within the factor."`
	// Share is the part of the factor's share that falls to this evidence, in proportion to its value.
	Share         float64 `json:"share" doc:"The part of the factor's share that falls to it, in proportion to its value."`
	Raw           float64 `json:"raw" doc:"What was measured, in unit."`
	Usual         float64 `json:"usual,omitempty" doc:"What the account has at its own peak."`
	Limit         float64 `json:"limit,omitempty" doc:"Where value reaches 1."`
	Unit          string  `json:"unit" enum:"recipients,score,share,breaches,places,messages"`
	WindowSeconds int64   `json:"window_seconds,omitempty"`
	Fingerprint   string  `json:"fingerprint,omitempty"`
	// Kind and Countries are of the evidence "place".
	Kind      string   `json:"kind,omitempty" enum:"country,network,countries,networks" doc:"What is new about a place: its country, its network, or that there are many at once."`
	Countries []string `json:"countries,omitempty" doc:"The countries of a new place, or of many, as ISO 3166 codes."`
}

// OutboundLimit is a limit that was met.
type OutboundLimit struct {
	Reason string `json:"reason" example:"user_per_hour"`
	Count  int64  `json:"count" doc:"With the recipients of this event."`
	Max    int64  `json:"max"`
}

// OutboundGroup is messages with the same text.
type OutboundGroup struct {
	Fingerprint   string    `json:"fingerprint,omitempty" doc:"Absent for texts that are unknown."`
	Count         int64     `json:"count"`
	Recipients    int64     `json:"recipients"`
	NewRecipients int64     `json:"new_recipients"`
	First         time.Time `json:"first"`
	Last          time.Time `json:"last"`
	// Messages are the latest of them.
	Messages []OutboundDecision `json:"messages" nullable:"false" doc:"The latest of them, at most 20 in all groups together."`
}

// OutboundAct is what every act by hand takes.
type OutboundAct struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; it is kept in the history and the audit log."`
	Ticket string `json:"ticket,omitempty" maxLength:"100"`
	// Revision, when not 0, is that of the account or profile as it was seen.
	Revision int64 `json:"revision,omitempty" minimum:"0" doc:"The revision as it was seen; when it has changed since, the answer is 409."`
}

// OutboundSuspend stops an account.
type OutboundSuspend struct {
	OutboundAct
	Hours int `json:"hours,omitempty" minimum:"0" maximum:"8760" doc:"After so many hours the account comes back to the soft limit; 0 = never by itself."`
}

// OutboundExtend makes a stop or a limit last longer.
type OutboundExtend struct {
	OutboundAct
	Hours int `json:"hours,omitempty" minimum:"0" maximum:"8760" doc:"Counted from now; 0 = until somebody ends it."`
}

// OutboundRelease ends a stop or a limit.
type OutboundRelease struct {
	OutboundAct
	// ProbationHours is nil for 24.
	ProbationHours *int  `json:"probation_hours,omitempty" minimum:"0" maximum:"8760" doc:"So long the soft limit stays; 0 = back to normal at once; default 24."`
	CapPerHour     int64 `json:"cap_per_hour,omitempty" minimum:"0" maximum:"1000000" doc:"Recipients an hour while it does; 0 = as configured."`
}

// OutboundLimitAct puts an account under a soft limit.
type OutboundLimitAct struct {
	OutboundAct
	Hours      int   `json:"hours,omitempty" minimum:"0" maximum:"8760" doc:"After so many hours it ends; 0 = until somebody ends it or the engine finds it clean."`
	CapPerHour int64 `json:"cap_per_hour,omitempty" minimum:"0" maximum:"1000000" doc:"Recipients an hour; 0 = as configured."`
}

// OutboundMode gives an account a mode of its own.
type OutboundMode struct {
	OutboundAct
	Mode string `json:"mode" enum:"off,shadow,enforce,default" doc:"default takes the own mode away."`
}

// OutboundTenantModeAct gives a tenant a mode of its own.
type OutboundTenantModeAct struct {
	OutboundDomainAct
	Mode string `json:"mode" enum:"off,shadow,enforce,default" doc:"default takes the own mode away."`
}

// OutboundTenantMode is the mode that holds for a tenant.
type OutboundTenantMode struct {
	TenantID string `json:"tenant_id"`
	Mode     string `json:"mode,omitempty" doc:"Its own; absent when that of the configuration holds."`
}

// OutboundTenantModeDetail is the mode of a tenant with what it is without one of its own.
type OutboundTenantModeDetail struct {
	OutboundTenantMode
	Name string `json:"name" doc:"The tenant's name."`
	// EffectiveMode and InheritedMode are empty where the engine is unknown and the tenant has none of its own.
	EffectiveMode string `json:"effective_mode,omitempty" enum:"off,shadow,enforce" doc:"The mode that holds for its accounts, but for those with one of their own; absent where it is unknown."`
	InheritedMode string `json:"inherited_mode,omitempty" enum:"off,shadow,enforce" doc:"The mode of the configuration; absent where the engine is unknown."`
}

// OutboundDomain is a stop of a whole domain.
type OutboundDomain struct {
	TenantID string     `json:"tenant_id"`
	Domain   string     `json:"domain"`
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Ticket   string     `json:"ticket,omitempty"`
	By       string     `json:"by,omitempty"`
}

// OutboundDomainAct is what acts on domains and tenants take.
type OutboundDomainAct struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; it is kept in the history and the audit log."`
	Ticket string `json:"ticket,omitempty" maxLength:"100"`
}

// OutboundDomainSuspend stops a whole domain.
type OutboundDomainSuspend struct {
	OutboundDomainAct
	Hours int `json:"hours,omitempty" minimum:"0" maximum:"8760" doc:"It ends by itself after so many hours; 0 = never."`
}

// OutboundProfile is a bulk sender.
type OutboundProfile struct {
	ID string `json:"id"`
	// TenantID is empty for one of the configuration, which holds for all.
	TenantID    string     `json:"tenant_id,omitempty" doc:"Absent for one of the configuration."`
	Accounts    []string   `json:"accounts" nullable:"false"`
	MaxRate     string     `json:"max_rate" example:"5000 msgs/hour" doc:"Recipient copies per minute, hour or day."`
	Description string     `json:"description,omitempty"`
	Source      string     `json:"source" enum:"config,database" doc:"Those of the configuration are changed there only."`
	By          string     `json:"by,omitempty"`
	ChangedAt   *time.Time `json:"changed_at,omitempty"`
	Revision    int64      `json:"revision,omitempty" doc:"Rises with every change; a change may name the one it was decided on."`
}

// NewOutboundProfile makes or replaces a profile.
type NewOutboundProfile struct {
	// Tenant is a name or id; empty for the own tenant of whoever asks.
	Tenant      string   `json:"tenant,omitempty" maxLength:"100" doc:"Name or id. Absent for one's own tenant."`
	Accounts    []string `json:"accounts" minItems:"1" maxItems:"1000" nullable:"false" doc:"Logins with their domain, or client addresses."`
	MaxRate     string   `json:"max_rate" minLength:"1" maxLength:"60" example:"5000 msgs/hour"`
	Description string   `json:"description,omitempty" maxLength:"500"`
	// New wants that there is none of this id yet.
	New bool `json:"new,omitempty" doc:"When there is a profile of this id already, the answer is 422."`
	OutboundAct
}

// OutboundPolicy is what is in force.
type OutboundPolicy struct {
	Hash string `json:"hash" doc:"Differs when anything in the policy differs."`
	Mode string `json:"mode" enum:"off,shadow,enforce" doc:"That of the configuration."`
	// Settings is the section outbound of the configuration with its defaults, as YAML.
	Settings string `json:"settings" doc:"The section outbound of the configuration with its defaults, as YAML."`
	// Modes are those of tenants that have one of their own.
	Modes    []OutboundTenantMode `json:"modes" nullable:"false"`
	Profiles []OutboundProfile    `json:"profiles" nullable:"false" doc:"Those of the configuration and the first 100 of the database."`
}

// OutboundTest asks what would happen to a message.
type OutboundTest struct {
	Account string `json:"account" minLength:"1" maxLength:"320" example:"tanaka@example.jp"`
	// Client is where it would come from; empty for a place that is not known.
	Client     string   `json:"client,omitempty" maxLength:"64" doc:"The address that it would come from; absent for an unknown one."`
	Recipients []string `json:"recipients" minItems:"1" maxItems:"1000" nullable:"false"`
	// Message is the message as it would be sent, header and body.
	Timezone string `json:"timezone,omitempty" maxLength:"60" doc:"For the times in the text, such as Asia/Tokyo; default UTC."`
	Message  []byte `json:"message" maxLength:"40000000" doc:"The message as it would be sent, header and body; Base64, at most 30 MB before it."`
}

// OutboundTestResult is what would happen.
type OutboundTestResult struct {
	TenantID string `json:"tenant_id"`
	Account  string `json:"account"`
	Mode     string `json:"mode"`
	Action   string `json:"action" enum:"allow,refuse_rate,refuse_suspended,hold"`
	Would    string `json:"would" enum:"allow,refuse_rate,refuse_suspended,hold" doc:"The action in mode enforce."`
	Reply    string `json:"reply,omitempty" doc:"What the sender would see, to the letter."`
	// Explanation has no groups, series and places.
	Explanation OutboundExplanation `json:"explanation" doc:"Without groups, series and places."`
}

// OutboundForgotten says how much was deleted.
type OutboundForgotten struct {
	Rows int64 `json:"rows" doc:"How many rows of decisions, sums, states and history are gone."`
}
