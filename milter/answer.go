package milter

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

// The standard answers.
var (
	replyReject   = mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "Message rejected"}
	replyTempfail = mail.Reply{Code: 451, Enhanced: "4.7.1", Text: "Try again later"}
	replyNoSpace  = mail.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage"}
)

// tagUnscanned marks a message that was delivered without having been checked, or not by all checks.
const tagUnscanned = "unscanned"

// tagMalformed marks a message that may have parts which were not found.
const tagMalformed = "malformed"

// tagQuarantine marks a message that would have been quarantined, had all its recipients been here.
const tagQuarantine = "quarantine"

// conclude judges the message in progress and carries out the verdict. A reply refuses it.
func (s *session) conclude() *mail.Reply {
	start := s.srv.now()
	m := s.facts()
	v, hold := s.settle(s.verdict(m))
	v, hold = s.endSending(m, v, hold)
	v.Tags = mail.CleanTags(v.Tags)

	var reply *mail.Reply
	if v.Action >= mail.Tempfail {
		reply = replyOf(v)
	} else {
		s.edit(v, hold)
	}
	s.report(v, hold, s.srv.now().Sub(start))
	return reply
}

// verdict asks the checks, if the message can be read at all.
func (s *session) verdict(m *mail.Message) mail.Verdict {
	if s.msg.tooForged {
		return mail.Verdict{Action: mail.Reject, Reasons: []string{"too many forged headers"}}
	}
	err := s.examine(m)
	switch {
	case errors.Is(err, errSpoolFull):
		return mail.Verdict{Action: mail.Tag, Tags: []string{tagUnscanned}, Reasons: []string{"over spool_max_bytes"}}
	case err != nil:
		s.srv.log.Error("message not spooled", "queue_id", s.msg.queueID, "err", err)
		return mail.Verdict{Action: mail.Tempfail, Reply: &replyNoSpace, Reasons: []string{"spool"}}
	}
	return s.refuseTooMany(markMalformed(s.srv.judge(m), m.Summary))
}

// refuseTooMany refuses a message with more fields of a name, all of which are to go or to be changed, than there can be
// changes: no honest mail has them, and who sends it is not to decide whether that is done.
func (s *session) refuseTooMany(v mail.Verdict) mail.Verdict {
	if v.Action >= mail.Tempfail || len(v.Edits) == 0 {
		return v
	}
	e := newEditor(s.wire, s.msg.header, false)
	if slices.ContainsFunc(v.Edits, func(edit mail.Edit) bool { return e.changes(edit) > maxChanges }) {
		s.msg.tooForged = true
		v.Action, v.Reply, v.Reasons = mail.Reject, nil, append(v.Reasons, "too many fields of one name")
	}
	return v
}

// markMalformed tags a message that the checks could not look through, so that people know.
func markMalformed(v mail.Verdict, summary *mail.Summary) mail.Verdict {
	if summary.Unexplored() {
		v.Action = max(v.Action, mail.Tag)
		v.Tags = append(v.Tags, tagMalformed)
		v.Reasons = append(v.Reasons, summary.Defects...)
	}
	return v
}

// settle fits the verdict to who sent the message and where it goes. Hold is Postfix's hold queue.
func (s *session) settle(v mail.Verdict) (settled mail.Verdict, hold bool) {
	if s.role == RoleLocal && v.Action > mail.Quarantine {
		v.Action, v.Reply = mail.Quarantine, nil
	}
	switch {
	case v.Action != mail.Quarantine:
		return v, false
	case s.msg.tooForged: // local mail, in which the fields beyond maxForged stay
		return v, true
	case !s.elsewhere():
		return v, false
	}
	switch {
	case s.srv.elsewhere == mail.Tag:
		v.Action = mail.Tag
		v.Tags = append(v.Tags, tagQuarantine)
	case s.srv.elsewhere == mail.Reject && s.role != RoleLocal:
		v.Action = mail.Reject
	default:
		return v, true
	}
	return v, false
}

// report writes the one log line of a message and counts it.
func (s *session) report(v mail.Verdict, hold bool, took time.Duration) {
	direction := s.direction(s.msg.login).String()
	s.srv.metrics.messages.WithLabelValues(direction, v.Action.String()).Inc()
	s.srv.metrics.bytes.WithLabelValues(direction).Add(float64(s.msg.spool.Size()))
	s.srv.log.Info("message judged",
		"queue_id", s.msg.queueID,
		"verdict", v.Action.String(),
		"score", v.Score,
		"tags", v.Tags,
		"reasons", v.Reasons,
		"direction", direction,
		"rcpt_count", len(s.msg.rcpt),
		"size_bytes", s.msg.spool.Size(),
		"held", hold,
		"took", took)
}

// replyOf gives the SMTP reply of a refusal: the verdict's own if it is valid and fits the action.
func replyOf(v mail.Verdict) *mail.Reply {
	def, class := &replyReject, 5
	if v.Action == mail.Tempfail {
		def, class = &replyTempfail, 4
	}
	if v.Reply == nil || !validReply(*v.Reply, class) {
		return def
	}
	return v.Reply
}

// validReply: a code and an enhanced code (RFC 3463) of the class, and one line of printable ASCII that
// leaves room in a reply line (RFC 5321, 4.5.3.1.5).
func validReply(r mail.Reply, class int) bool {
	if r.Code/100 != class || len(r.Text) == 0 || len(r.Text) > 400 {
		return false
	}
	c, detail, _ := strings.Cut(r.Enhanced, ".")
	if c != string(rune('0'+class)) || !validDetail(detail) {
		return false
	}
	return strings.IndexFunc(r.Text, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

// validDetail: subject "." detail of an enhanced status code.
func validDetail(s string) bool {
	subject, detail, found := strings.Cut(s, ".")
	return found && digits(subject) && digits(detail)
}

func digits(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// answer refuses with a reply, and says "continue" without one. A per cent sign is doubled, as the milter API has it: Postfix
// takes one out again.
func (s *session) answer(r *mail.Reply) {
	if r == nil {
		s.wire.say(sayContinue)
		return
	}
	s.wire.say(sayReply, strings.ReplaceAll(r.String(), "%", "%%"), "\x00")
}
