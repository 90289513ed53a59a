// Package policy is the outbound engine: it decides whether an account may send, from what the account sent so
// far. It is pure: Decide takes a State, an Event and a Policy and gives a Decision and the next State. It does no
// input or output, reads no clock, and computes in integers (millionths), so that the same events give the same
// decisions on every machine.
//
// # How a message is judged
//
// Each recipient is reserved when RCPT comes, before anything is known of the content; the end of the message
// commits what was reserved, anything else releases it. Three factors, each a family of evidence in 0…1, make the
// score: rate (how many, how many unknown), content (spam, campaigns, invalid addresses, listed URLs) and history
// (new places, strikes, unusual hours). Plain limits per user, domain and tenant hold beside the score.
//
// The state of an account is bounded (MaxStateBytes) and belongs to the caller, who keeps it as bytes.
package policy

import (
	"strings"
)

// Account is who sends: the SASL login in lower case with its domain, or the client address of a trusted network.
type Account string

// LoginAccount makes the account of a SASL login: lower case, with defaultDomain where the login has none.
// Blanks around the login are dropped. An empty login gives an empty account.
func LoginAccount(login, defaultDomain string) Account {
	login = strings.ToLower(strings.TrimSpace(login))
	if login != "" && defaultDomain != "" && !strings.Contains(login, "@") {
		login += "@" + strings.ToLower(defaultDomain)
	}
	return Account(login)
}

// Domain is what stands behind the last @; empty when there is none.
func (a Account) Domain() string {
	i := strings.LastIndexByte(string(a), '@')
	if i < 0 {
		return ""
	}
	return string(a[i+1:])
}

// Level is how far an account is trusted.
type Level string

// The levels.
const (
	Normal    Level = "normal"
	SoftLimit Level = "soft_limit" // a real cap on recipients
	HardLimit Level = "hard_limit" // suspended
)

// Mode says whether automatic decisions take effect.
type Mode string

// The modes.
const (
	Off     Mode = "off"     // nothing is decided or held, not even a stop by hand
	Shadow  Mode = "shadow"  // automatic decisions are recorded only; a stop by hand holds
	Enforce Mode = "enforce" // all decisions take effect
)

// Action is what the sender meets.
type Action string

// The actions. The last four are only ever given by an enforced decision; see Decision.Would.
const (
	Allow           Action = "allow"
	RefuseRate      Action = "refuse_rate"      // TextRate
	RefuseSuspended Action = "refuse_suspended" // TextSuspended
	Hold            Action = "hold"             // end of message only: Postfix's hold queue
)

// The replies, as Postfix sends them.
const (
	TextSuspended = "550 5.7.1 Sending from this account is temporarily suspended. Please contact your administrator."
	TextRate      = "450 4.7.1 Sending rate limited, please try again later."
)

// Micro is 1 in the engine's fixed-point numbers: scores, weights and evidence are millionths.
const Micro = 1_000_000
