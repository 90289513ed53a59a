// Package rule judges messages by the site's own rules: an ordered list of conditions with an action, so
// that a site without rspamd has a simple filter.
package rule

// GTUBE is the string that every spam filter takes for spam, for testing without spam: the
// Generic Test for Unsolicited Bulk Email.
const GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// Options are one rule, as an entry of milter.rules in the configuration.
type Options struct {
	// Name stands in logs and reasons; default "rule-N", counted from 1. No two rules share one.
	Name string `yaml:"name,omitempty"`
	// Direction is the mail that the rule looks at: inbound (default), outbound, local (sendmail) or any.
	Direction string `yaml:"direction,omitempty"`
	// Conditions must all hold. A rule without any holds for every message.
	Conditions `yaml:",inline"`
	// Not holds exceptions: the rule does not match if any one of these holds.
	Not *Conditions `yaml:"not,omitempty"`
	// Action is allow, tag, quarantine, tempfail or reject. Default: tag when there are tags, else allow.
	Action string `yaml:"action,omitempty"`
	// Tags are [a-z0-9._-], at most 40 characters each.
	Tags []string `yaml:"tags,omitempty"`
	// Score is on rspamd's scale. The greatest of all rules that match counts.
	Score float64 `yaml:"score,omitempty"`
	// Reply replaces the standard answer of reject and tempfail.
	Reply *Reply `yaml:"reply,omitempty"`
	// Stop ends the list when the rule matches.
	Stop bool `yaml:"stop,omitempty"`
}

// Conditions are facts about a message; those left out hold always.
//
// Every `…matches` is a regular expression (RE2 syntax), found anywhere in the text unless anchored, in any
// case of letters unless it says (?-i). Sizes are bytes of the whole message.
type Conditions struct {
	// Header conditions must all hold. They see the first MiB of the header; a longer one has the defect
	// header_too_long.
	Header []HeaderCondition `yaml:"header,omitempty"`
	// SenderMatches looks at the envelope sender, local@domain; empty for the null sender.
	SenderMatches string `yaml:"sender_matches,omitempty"`
	// RecipientMatches looks at each envelope recipient; one is enough.
	RecipientMatches string `yaml:"recipient_matches,omitempty"`
	// Client holds CIDRs or addresses, one of which the SMTP client is in.
	Client []string `yaml:"client,omitempty"`
	// HeloMatches looks at the name given in HELO or EHLO.
	HeloMatches string `yaml:"helo_matches,omitempty"`
	// SizeGT and SizeLT want the message larger, or smaller, than so many bytes; 0 means left out.
	SizeGT int64 `yaml:"size_gt,omitempty"`
	SizeLT int64 `yaml:"size_lt,omitempty"`
	// AttachmentNameMatches looks at the decoded file name of each attachment, those of attached messages
	// included; one is enough.
	AttachmentNameMatches string `yaml:"attachment_name_matches,omitempty"`
	// AttachmentType lists media types, "application/zip" or "image/*"; one attachment of one of them is enough.
	AttachmentType []string `yaml:"attachment_type,omitempty"`
	// Defect lists words of mail.AllDefects, such as "too_many_parts"; one of them among those of the message is
	// enough. What could not be looked through may hide attachments from the conditions above.
	Defect []string `yaml:"defect,omitempty"`
	// BodyContains looks for these bytes, exactly so, in the first 64 KiB of the body as sent, before any
	// decoding.
	BodyContains string `yaml:"body_contains,omitempty"`
	// Authenticated tells logged-in clients from others.
	Authenticated *bool `yaml:"authenticated,omitempty"`
}

// HeaderCondition holds when one field of that name matches.
type HeaderCondition struct {
	// Name of the field, in any case of letters.
	Name string `yaml:"name"`
	// Matches looks at the decoded value, white space folded, up to 8 KiB of it.
	Matches string `yaml:"matches"`
}

// Reply is an SMTP answer.
type Reply struct {
	// Code is 5xx for reject and 4xx for tempfail; default 550 or 451.
	Code int `yaml:"code,omitempty"`
	// Enhanced is the RFC 3463 code; default 5.7.1 or 4.7.1.
	Enhanced string `yaml:"enhanced,omitempty"`
	// Text is one line of printable ASCII, at most 200 characters. Required.
	Text string `yaml:"text"`
}

// GTUBERule refuses messages with the GTUBE string, whichever way they go.
func GTUBERule() Options {
	return Options{
		Name:       "gtube",
		Direction:  "any",
		Conditions: Conditions{BodyContains: GTUBE},
		Action:     "reject",
		Tags:       []string{"gtube"},
		Stop:       true,
	}
}
