package admin

import (
	"strconv"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

func countsWire(m store.OutboundSum) wire.OutboundCounts {
	return wire.OutboundCounts{
		Messages: m.Messages, Recipients: m.Recipients, NewRecipients: m.NewRecipients, Refused: m.Refused, Bounced: m.Bounced,
		Limited: m.Limited, Stopped: m.Stopped,
	}
}

func add(to *wire.OutboundCounts, c wire.OutboundCounts) {
	to.Messages += c.Messages
	to.Recipients += c.Recipients
	to.NewRecipients += c.NewRecipients
	to.Refused += c.Refused
	to.Bounced += c.Bounced
	to.Limited += c.Limited
	to.Stopped += c.Stopped
}

func columnsWire(rows []store.OutboundSum) []wire.OutboundColumn {
	list := make([]wire.OutboundColumn, 0, len(rows))
	for _, m := range rows {
		list = append(list, wire.OutboundColumn{At: m.At, OutboundCounts: countsWire(m), Score: fraction(m.ScoreMicro)})
	}
	return list
}

// fraction is a number of millionths.
func fraction(micro int64) float64 { return float64(micro) / policy.Micro }

func decisionWire(d store.OutboundDecision) wire.OutboundDecision {
	w := wire.OutboundDecision{
		ID: LogID(d.LogKey), At: d.At, TenantID: string(d.Tenant), Account: d.Account, On: d.Kind, QueueHost: d.QueueHost, QueueID: d.QueueID,
		Client: d.Client, Country: countryOf(d.Explanation), MailFrom: d.MailFrom, Messages: d.Messages, Recipients: d.Recipients, NewRecipients: d.NewRecipients,
		Refused: d.Refused, Bounced: d.Bounced, SizeBytes: d.SizeBytes, Fingerprint: fingerprintText(d.Fingerprint), Action: d.Action,
		Reason: d.Reason, LevelBefore: d.LevelBefore, LevelAfter: d.LevelAfter, Mode: d.Mode, Score: fraction(d.ScoreMicro), Reply: d.Reply,
	}
	if d.SpamMilli != nil {
		score := float64(*d.SpamMilli) / 1000
		w.SpamScore = &score
	}
	if d.Would != d.Action {
		w.Would = d.Would
	}
	if d.WouldLevel != d.LevelAfter {
		w.WouldLevel = d.WouldLevel
	}
	return w
}

// fingerprintText is 16 hexadecimal digits; empty for 0.
func fingerprintText(f uint64) string {
	if f == 0 {
		return ""
	}
	return padded(strconv.FormatUint(f, 16))
}

// padded writes a fingerprint with all its digits.
func padded(digits string) string {
	if digits == "" || len(digits) > 16 {
		return digits
	}
	return "0000000000000000"[len(digits):] + digits
}

func eventWire(e store.OutboundEvent) wire.OutboundEvent {
	return wire.OutboundEvent{
		ID: LogID(e.LogKey), At: e.At, TenantID: string(e.Tenant), Noun: e.Noun, Name: e.Name, Act: e.Act, Detail: e.Detail, LevelBefore: e.LevelBefore, LevelAfter: e.LevelAfter,
		Mode: e.Mode, Reason: e.Reason, Ticket: e.Ticket, By: e.Actor, Automatic: automatic(e.Act), Until: optional(e.Until),
		CapPerHour: e.CapPerHour, DecisionID: LogID(e.Decision),
	}
}
