package bounce

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// Delivery is what a delivery agent of Postfix logs about one recipient and one attempt.
type Delivery struct {
	At time.Time
	// LogHost is the host as syslog names it, often without a domain.
	LogHost string
	// Program is syslog_name and agent, such as "postfix/smtp" or "postfix-out/smtp".
	Program string
	QueueID string
	// Rcpt is the recipient in the form of RFC 5321, with quotes where it needs them.
	Rcpt string
	// DSN is the enhanced status code; Status is sent, deferred, bounced, deliverable, undeliverable or expired.
	DSN, Status string
}

// agents are the programs of Postfix that log deliveries. Strangers can make others, such as smtpd and cleanup, log
// nearly any text.
var agents = []string{"smtp", "lmtp", "local", "virtual", "pipe", "error", "discard"}

var statuses = []string{"sent", "deferred", "bounced", "deliverable", "undeliverable", "expired"}

// Parser reads lines of a log. The zero Parser takes times without a zone for UTC and cannot tell the year.
type Parser struct {
	// Location is the zone of times that have none (RFC 3164).
	Location *time.Location
	// Now tells the year of such times.
	Now func() time.Time
}

// Parse reads a line without its end, in the formats of RFC 3164, of RFC 5424, or with an RFC 3339 time in front, each
// with or without "<PRI>". ok is false when it is not the line of a delivery.
func (p Parser) Parse(line []byte) (d Delivery, ok bool) {
	rest := trimPriority(line)
	if after, found := bytes.CutPrefix(rest, []byte("1 ")); found {
		return p.parse5424(after)
	}
	if d.At, rest, ok = p.cutTime(rest); !ok {
		return d, false
	}
	host, rest, ok := cutWord(rest)
	if !ok {
		return d, false
	}
	program, message, ok := cutTag(rest)
	if !ok {
		return d, false
	}
	d.LogHost, d.Program = host, program
	return d.parseMessage(message)
}

// ParseMessage reads the text of an entry whose time, host and program are known by other means, as in the journal.
func ParseMessage(at time.Time, logHost, program string, message []byte) (Delivery, bool) {
	d := Delivery{At: at, LogHost: logHost, Program: program}
	if !isDeliveryAgent(program) {
		return Delivery{}, false
	}
	return d.parseMessage(message)
}

// trimPriority removes "<0>" to "<191>".
func trimPriority(line []byte) []byte {
	if len(line) == 0 || line[0] != '<' {
		return line
	}
	end := bytes.IndexByte(line[:min(len(line), 5)], '>')
	if end < 2 || !isDigits(string(line[1:end])) {
		return line
	}
	return line[end+1:]
}

// parse5424 reads what follows the version: TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG (RFC 5424, 6).
func (p Parser) parse5424(rest []byte) (d Delivery, ok bool) {
	var words [5]string
	for i := range words {
		if words[i], rest, ok = cutWord(rest); !ok {
			return d, false
		}
	}
	at, err := time.Parse(time.RFC3339Nano, words[0])
	if err != nil || !isDeliveryAgent(words[2]) {
		return d, false
	}
	message, ok := cutStructuredData(rest)
	if !ok {
		return d, false
	}
	d.At, d.LogHost, d.Program = at, words[1], words[2]
	return d.parseMessage(bytes.TrimPrefix(message, []byte("\xef\xbb\xbf")))
}

// cutStructuredData removes "-" or "[id name="value" …]…", within whose values ", \ and ] are escaped.
func cutStructuredData(rest []byte) ([]byte, bool) {
	if after, found := bytes.CutPrefix(rest, []byte("- ")); found {
		return after, true
	}
	quoted, depth := false, 0
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' && depth == 0:
			depth = 1
		case c == ']' && depth == 1:
			depth = 0
		case c == ' ' && depth == 0:
			return rest[i+1:], i > 0
		case depth == 0:
			return nil, false
		}
	}
	return nil, false
}

const stamp = "Jan _2 15:04:05" // RFC 3164, 4.1.2

// cutTime reads an RFC 3339 or RFC 3164 time and the space behind it.
func (p Parser) cutTime(rest []byte) (at time.Time, after []byte, ok bool) {
	if len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		word, after, ok := cutWord(rest)
		if !ok {
			return at, nil, false
		}
		at, err := time.Parse(time.RFC3339Nano, word)
		return at, after, err == nil
	}
	if len(rest) <= len(stamp) || rest[len(stamp)] != ' ' {
		return at, nil, false
	}
	location := p.Location
	if location == nil {
		location = time.UTC
	}
	at, err := time.ParseInLocation(stamp, string(rest[:len(stamp)]), location)
	if err != nil {
		return at, nil, false
	}
	return p.withYear(at), rest[len(stamp)+1:], true
}

// withYear gives a time the latest year in which it does not lie in the future; a day is left for clocks that differ.
func (p Parser) withYear(at time.Time) time.Time {
	if p.Now == nil {
		return at
	}
	now := p.Now().In(at.Location())
	inYear := func(year int) time.Time {
		return time.Date(year, at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, at.Location())
	}
	if t := inYear(now.Year() + 1); !t.After(now.Add(24 * time.Hour)) {
		return t
	}
	if t := inYear(now.Year()); !t.After(now.Add(24 * time.Hour)) {
		return t
	}
	return inYear(now.Year() - 1)
}

// cutWord cuts at the first space. The word is not empty and of a sane length.
func cutWord(rest []byte) (word string, after []byte, ok bool) {
	before, after, found := bytes.Cut(rest, []byte(" "))
	if !found || len(before) == 0 || len(before) > MaxHost {
		return "", nil, false
	}
	return string(before), after, true
}

// cutTag reads "postfix/smtp[123]: " and refuses programs that are no delivery agents.
func cutTag(rest []byte) (program string, message []byte, ok bool) {
	tag, message, found := bytes.Cut(rest, []byte(": "))
	if !found || len(tag) > MaxHost {
		return "", nil, false
	}
	name := tag
	if i := bytes.IndexByte(tag, '['); i >= 0 {
		if !bytes.HasSuffix(tag, []byte("]")) || !isDigits(string(tag[i+1:len(tag)-1])) {
			return "", nil, false
		}
		name = tag[:i]
	}
	return string(name), message, isDeliveryAgent(string(name))
}

// isDeliveryAgent says whether a program is NAME/AGENT, where NAME is syslog_name and may have slashes of its own.
func isDeliveryAgent(program string) bool {
	i := strings.LastIndexByte(program, '/')
	return i > 0 && len(program) <= MaxHost && slices.Contains(agents, program[i+1:]) && !strings.ContainsAny(program, " :[]")
}

// parseMessage reads "QUEUEID: to=<…>, [orig_to=<…>, ]relay=…, …, dsn=…, status=WORD (…". What stands in the
// parentheses is a stranger's, so that everything is read from the front, and strictly.
func (d Delivery) parseMessage(message []byte) (Delivery, bool) {
	id, rest, found := bytes.Cut(message, []byte(": to=<"))
	if !found || !isQueueID(string(id)) {
		return Delivery{}, false
	}
	rcpt, rest, ok := cutAddress(rest)
	if !ok {
		return Delivery{}, false
	}
	if after, found := bytes.CutPrefix(rest, []byte("orig_to=<")); found {
		if _, rest, ok = cutAddress(after); !ok {
			return Delivery{}, false
		}
	}
	d.QueueID, d.Rcpt = string(id), string(rcpt)
	for {
		key, value, after, ok := cutField(rest)
		if !ok {
			return Delivery{}, false
		}
		rest = after
		if key == "dsn" {
			d.DSN = value
			break
		}
		if !slices.Contains([]string{"relay", "conn_use", "delay", "delays"}, key) {
			return Delivery{}, false
		}
	}
	after, found := bytes.CutPrefix(rest, []byte("status="))
	if !found {
		return Delivery{}, false
	}
	status, _, _ := bytes.Cut(after, []byte(" "))
	d.Status = string(status)
	return d, isDSN(d.DSN) && slices.Contains(statuses, d.Status)
}

// cutAddress reads up to ">, ". A quoted local part (RFC 5321, 4.1.2) may hold the same signs.
func cutAddress(rest []byte) (address, after []byte, ok bool) {
	from := 0
	if len(rest) > 0 && rest[0] == '"' {
		for from = 1; ; from++ {
			if from >= len(rest) || from > MaxRcpt {
				return nil, nil, false
			}
			if rest[from] == '\\' {
				from++
			} else if rest[from] == '"' {
				break
			}
		}
	}
	end := bytes.Index(rest[from:], []byte(">, "))
	if end < 0 || from+end > MaxRcpt {
		return nil, nil, false
	}
	return rest[:from+end], rest[from+end+len(">, "):], true
}

// cutField reads "key=value, ".
func cutField(rest []byte) (key, value string, after []byte, ok bool) {
	field, after, found := bytes.Cut(rest, []byte(", "))
	k, v, isField := bytes.Cut(field, []byte("="))
	if !found || !isField || len(field) > 2*MaxHost {
		return "", "", nil, false
	}
	return string(k), string(v), after, true
}

// isQueueID knows Postfix's short (hexadecimal) and long (base 52 and 51) queue ids.
func isQueueID(s string) bool {
	if len(s) < 5 || len(s) > maxQueueID || s == "NOQUEUE" {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// isDSN knows enhanced status codes (RFC 3463, 2).
func isDSN(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || !slices.Contains([]string{"2", "4", "5"}, parts[0]) {
		return false
	}
	return len(parts[1]) <= 3 && len(parts[2]) <= 3 && isDigits(parts[1]) && isDigits(parts[2])
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// asBounce gives the bounce in a delivery, if it is one.
func (d Delivery) asBounce() (Bounce, bool) {
	if d.Status != "bounced" || !noSuchAddress(d.DSN) || d.Rcpt == "" {
		return Bounce{}, false
	}
	return Bounce{At: d.At, QueueID: d.QueueID, Rcpt: d.Rcpt, DSN: d.DSN}, true
}
