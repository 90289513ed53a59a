package rspamd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

const (
	// maxSymbols bounds the symbols kept in the metadata; the weightiest stay.
	maxSymbols = 100
	// maxReplyText bounds messages.smtp_message.
	maxReplyText = 300
	// tagSpam marks what rspamd holds for spam: "add header", "rewrite subject" and above.
	tagSpam = "spam"
)

// answer is what matters of rspamd's JSON.
type answer struct {
	action   string
	score    float64
	required float64
	symbols  []symbol
	subject  string
	text     string // messages.smtp_message
	edits    []mail.Edit
	noAction bool   // milter.no_action: the score is for information
	reject   string // milter.reject: what a reject means
}

type symbol struct {
	Name  string  `json:"name"`
	Score float64 `json:"score"`
}

// parseAnswer reads an answer. What has an unexpected form is passed over; only an answer without an
// action is an error.
func parseAnswer(body []byte) (answer, error) {
	top, err := members(body)
	if err != nil {
		return answer{}, fmt.Errorf("rspamd's answer: %w", err)
	}
	a := answer{action: text(top.get("action"))}
	if a.action == "" {
		return answer{}, fmt.Errorf("rspamd's answer has no action: %q", mail.Clean(text(top.get("error")), 200))
	}
	a.score = number(top.get("score"))
	a.required = number(top.get("required_score"))
	a.subject = text(top.get("subject"))
	a.symbols = parseSymbols(top.get("symbols"))
	messages, _ := members(top.get("messages"))
	a.text = replyText(text(messages.get("smtp_message")))

	milter, _ := members(top.get("milter"))
	_ = json.Unmarshal(milter.get("no_action"), &a.noAction)
	a.reject = text(milter.get("reject"))
	a.edits = append(a.edits, removals(milter.get("remove_headers"))...)
	a.edits = append(a.edits, additions(milter.get("add_headers"))...)
	for i, signature := range items(top.get("dkim-signature")) {
		if s := text(signature); s != "" {
			// Below Postfix's Received field, where rspamd's own milter puts it.
			a.edits = append(a.edits, mail.Edit{Op: mail.InsertField, Name: "DKIM-Signature", Value: s, Index: 1 + i})
		}
	}
	return a, nil
}

// verdict maps the action.
func (c *Client) verdict(a answer, queueID string) mail.Verdict {
	v := mail.Verdict{
		Score:    a.score,
		Edits:    a.edits,
		Reasons:  []string{"rspamd: " + mail.Clean(a.action, 40)},
		Metadata: map[string]json.RawMessage{"rspamd": a.metadata()},
	}
	if a.noAction {
		return v
	}
	switch a.action {
	case "no action":
	case "greylist":
		v.Action = c.greylist
	case "soft reject":
		v.Action = mail.Tempfail
	case "add header":
		v.Action = c.addHeader
		v.Tags = []string{tagSpam}
	case "rewrite subject":
		v.Action = c.addHeader
		v.Tags = []string{tagSpam}
		if a.subject != "" {
			v.Edits = append(v.Edits, mail.Edit{Op: mail.ReplaceField, Name: "Subject", Value: encoded(a.subject), Index: 1})
		}
	case "quarantine":
		v.Action = mail.Quarantine
		v.Tags = []string{tagSpam}
	case "reject":
		v.Action = mail.Reject
		v.Tags = []string{tagSpam}
		if a.reject == "quarantine" {
			v.Action = mail.Quarantine
		}
	default:
		c.log.Warn("rspamd gave an unknown action", "queue_id", queueID, "action", mail.Clean(a.action, 40))
	}
	v.Reply = reply(v.Action, a.text)
	return v
}

func reply(action mail.Action, text string) *mail.Reply {
	switch {
	case text == "":
	case action == mail.Reject:
		return &mail.Reply{Code: 550, Enhanced: "5.7.1", Text: text}
	case action == mail.Tempfail:
		return &mail.Reply{Code: 451, Enhanced: "4.7.1", Text: text}
	}
	return nil
}

// metadata is what is kept for people to look at.
func (a answer) metadata() json.RawMessage {
	raw, err := json.Marshal(struct {
		Action   string   `json:"action"`
		Score    float64  `json:"score"`
		Required float64  `json:"required_score"`
		Symbols  []symbol `json:"symbols"`
	}{mail.Clean(a.action, 40), a.score, a.required, a.symbols})
	if err != nil { // not with finite numbers, which number sees to
		return json.RawMessage(`{}`)
	}
	return raw
}

// parseSymbols gives the weightiest symbols first.
func parseSymbols(raw json.RawMessage) []symbol {
	list, _ := members(raw)
	symbols := make([]symbol, 0, len(list))
	for _, m := range list {
		inner, _ := members(m.value)
		symbols = append(symbols, symbol{Name: mail.Clean(m.key, 80), Score: number(inner.get("score"))})
	}
	slices.SortStableFunc(symbols, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Score), math.Abs(a.Score)), cmp.Compare(a.Name, b.Name))
	})
	return symbols[:min(len(symbols), maxSymbols)]
}

// removals reads {"Name": n}: n from 1 is that field, 0 every one, and below 0 counts from the end, for
// which all are taken, since the number of fields isn't known here. n may also be a list.
func removals(raw json.RawMessage) []mail.Edit {
	list, _ := members(raw)
	edits := make([]mail.Edit, 0, len(list))
	for _, m := range list {
		list := items(m.value)
		indexes := make([]int, 0, len(list))
		for _, item := range list {
			indexes = append(indexes, max(0, int(number(item))))
		}
		slices.Sort(indexes)
		slices.Reverse(indexes) // from the last, so that the numbers of the others stay
		for _, i := range indexes {
			edits = append(edits, mail.Edit{Op: mail.RemoveField, Name: m.key, Index: i})
		}
	}
	return edits
}

// additions reads {"Name": "value"}, {"Name": {"value": …, "order": n}}, and lists of both.
func additions(raw json.RawMessage) []mail.Edit {
	list, _ := members(raw)
	var edits []mail.Edit
	for _, m := range list {
		for _, item := range items(m.value) {
			if e, ok := addition(m.key, item); ok {
				edits = append(edits, e)
			}
		}
	}
	return edits
}

func addition(name string, item json.RawMessage) (mail.Edit, bool) {
	if value := text(item); value != "" {
		return mail.Edit{Op: mail.AppendField, Name: name, Value: value}, true
	}
	inner, _ := members(item)
	e := mail.Edit{Op: mail.AppendField, Name: name, Value: text(inner.get("value"))}
	if e.Value == "" {
		return e, false
	}
	order := inner.get("order")
	if order == nil {
		order = inner.get("index")
	}
	if n := number(order); order != nil && n >= 0 {
		e.Op, e.Index = mail.InsertField, int(n)
	}
	return e, true
}

// replyText makes one line of printable ASCII.
func replyText(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return mail.Clean(s, maxReplyText)
}

// encoded makes a subject fit for a header (RFC 2047) unless rspamd has done so.
func encoded(subject string) string { return mime.BEncoding.Encode("utf-8", mail.Clean(subject, 2000)) }

// member is one name and value of a JSON object.
type member struct {
	key   string
	value json.RawMessage
}

type memberList []member

// get gives the first value of a name, nil when there is none.
func (l memberList) get(key string) json.RawMessage {
	for _, m := range l {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// members reads an object, keeping the order, which decides where header fields go.
func members(raw json.RawMessage) (memberList, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	var list memberList
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return list, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return list, err
		}
		name, _ := key.(string)
		list = append(list, member{name, value})
	}
	_, err := d.Token()
	return list, err
}

// items gives the elements of a list, or the value itself if it is none.
func items(raw json.RawMessage) []json.RawMessage {
	if raw == nil {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && list != nil {
		return list
	}
	return []json.RawMessage{raw}
}

// text gives a string, "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// number gives a finite number within a billion, 0 for anything else.
func number(raw json.RawMessage) float64 {
	var n float64
	if json.Unmarshal(raw, &n) != nil {
		return 0
	}
	return max(-1e9, min(1e9, n))
}
