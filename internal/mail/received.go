package mail

import (
	"strings"
	"time"
)

// parseReceived finds host, queue id and time in a Received field (RFC 5321, 4.4), folded as it came.
//
// Postfix puts "by" at the beginning of a line of its own. What begins there counts where there is such a line,
// because the line before it holds the client's HELO, which may be any words. Of mail from sendmail(1) it is the
// first line, and the queue id is in the next.
func parseReceived(value string) Received {
	r := receivedBy(value)
	r.At = receivedAt(value)
	return r
}

// receivedAt is the date behind the last semicolon.
func receivedAt(value string) time.Time {
	i := strings.LastIndexByte(value, ';')
	if i < 0 {
		return time.Time{}
	}
	return ParseDate(value[i+1:]).UTC()
}

// receivedBy gives host and queue id.
func receivedBy(value string) Received {
	for rest := value; rest != ""; _, rest, _ = strings.Cut(rest, "\n") {
		line := strings.TrimLeft(rest, " \t")
		if len(line) > 3 && strings.EqualFold(line[:2], "by") && (line[2] == ' ' || line[2] == '\t') {
			return receivedClauses(unfold(line))
		}
	}
	return receivedClauses(unfold(value))
}

// receivedClauses reads pairs of words up to the date; comments do not count.
func receivedClauses(s string) (r Received) {
	words := strings.Fields(withoutComments(s))
	for i := 0; i+1 < len(words); i += 2 {
		key, value := strings.ToLower(words[i]), words[i+1]
		clause, last := strings.CutSuffix(value, ";")
		if j := strings.IndexByte(clause, ';'); j >= 0 {
			clause, last = clause[:j], true
		}
		switch {
		case key == "by" && r.By == "":
			r.By = Clean(strings.ToLower(strings.TrimSuffix(clause, ".")), maxDomain)
		case key == "id" && r.ID == "":
			r.ID = Clean(strings.Trim(clause, "<>"), maxScanID)
		}
		if last {
			break
		}
	}
	return r
}

func withoutComments(s string) string {
	var b strings.Builder
	var e enclosures
	for i := 0; i < len(s); {
		if s[i] == '(' {
			if end := e.skip(s, i); end > i+1 {
				b.WriteByte(' ')
				i = end
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
