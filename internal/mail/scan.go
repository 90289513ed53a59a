package mail

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ScanField is the header field that carries the milter's verdict to LMTP.
const ScanField = "X-MaiRust-Scan"

// ErrScan is wrapped by every error of ParseScan but those of its verify function.
var ErrScan = errors.New("not a scan header")

const (
	scanVersion  = "1"
	maxScanValue = 4096
	maxScanTags  = 32
	maxScanTag   = 40
	maxScanHost  = 255
	maxScanID    = 64
	maxScore     = 1e6
	maxUnixTime  = 253402300799 // the end of year 9999
	foldColumn   = 78
)

// scanKeys are the keys of a version 1 value, in order; the MAC comes last and covers all before it.
var scanKeys = []string{"v", "t", "h", "q", "a", "tags", "score", "m"}

var (
	scanToken   = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]*$`)
	scanTag     = regexp.MustCompile(`^[a-z0-9._-]{1,40}$`)
	scanMAC     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)
	foldingRepl = strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "")
)

// Scan is what the milter found, for one message of one Postfix host.
type Scan struct {
	// Time is when the verdict was made, to the second.
	Time time.Time
	// Host and QueueID name the message on its Postfix host.
	Host, QueueID string
	Action        Action
	// Tags are [a-z0-9._-]{1,40}, at most 32; Value makes them so.
	Tags []string
	// Score is kept to a thousandth and within ±1,000,000.
	Score float64
	// Sender is the envelope sender and Body the digest of the body (BodyHash). Both are covered by
	// the MAC and not written down: whoever reads the header knows them from elsewhere.
	Sender Address
	Body   [32]byte
}

// Value gives the field's value, in ASCII and folded with CRLF and a space before column 78 where that
// can be done:
//
//	v=1; t=<unix time>; h=<host>; q=<queue id>; a=<action>; tags=a,b; score=1.25; m=<mac>
//
// mac authenticates its arguments, keeping their borders apart, and names its own key ("v1.<key id>.…",
// letters, digits, dots, "-" and "_" only). What does not fit the form is made to fit, never refused.
func (s Scan) Value(mac func(fields ...string) string) string {
	fields := s.fields()
	sum := mac(s.covered(fields)...)
	var atoms []string
	for i, value := range fields {
		atoms = append(atoms, scanAtoms(scanKeys[i], value)...)
	}
	return fold(append(atoms, " m="+sum))
}

// fields gives the values of all keys but the MAC's.
func (s Scan) fields() []string {
	return []string{
		scanVersion,
		strconv.FormatInt(min(max(s.Time.Unix(), 0), maxUnixTime), 10),
		token(s.Host, maxScanHost),
		token(s.QueueID, maxScanID),
		s.Action.String(),
		strings.Join(CleanTags(s.Tags), ","),
		formatScore(s.Score),
	}
}

// covered is what the MAC is made over.
func (s Scan) covered(fields []string) []string {
	sender := s.Sender.Fold()
	sender.Domain = foldDomain(sender.Domain)
	return append(slices.Clone(fields), sender.String(), hex.EncodeToString(s.Body[:]))
}

// ParseScan reads a value that Value made, perhaps folded differently since. It asks verify about the MAC
// over what it read together with sender and body, and gives verify's error as it is, wrapped. It is
// strict: any other version, key, order or spelling is an error that wraps ErrScan. How old the verdict is
// and whose queue id it names is for the caller to judge.
func ParseScan(value string, sender Address, body [32]byte, verify func(mac string, fields ...string) error) (Scan, error) {
	if len(value) > maxScanValue {
		return Scan{}, fmt.Errorf("%w: longer than %d bytes", ErrScan, maxScanValue)
	}
	values, err := splitScan(foldingRepl.Replace(value))
	if err != nil {
		return Scan{}, err
	}
	s := Scan{Sender: sender, Body: body}
	if err := s.read(values); err != nil {
		return Scan{}, err
	}
	last := len(values) - 1
	if err := verify(values[last], s.covered(values[:last])...); err != nil {
		return Scan{}, fmt.Errorf("verify scan header: %w", err)
	}
	return s, nil
}

// splitScan gives the values of scanKeys, MAC last.
func splitScan(value string) ([]string, error) {
	pairs := strings.Split(value, ";")
	if v, ok := strings.CutPrefix(pairs[0], "v="); !ok || v != scanVersion {
		return nil, fmt.Errorf("%w: version is not %s", ErrScan, scanVersion)
	}
	if len(pairs) != len(scanKeys) {
		return nil, fmt.Errorf("%w: %d keys instead of %d", ErrScan, len(pairs), len(scanKeys))
	}
	values := make([]string, len(pairs))
	for i, pair := range pairs {
		v, ok := strings.CutPrefix(pair, scanKeys[i]+"=")
		if !ok {
			return nil, fmt.Errorf("%w: key %s is not where it belongs", ErrScan, scanKeys[i])
		}
		values[i] = v
	}
	if !scanMAC.MatchString(values[len(values)-1]) {
		return nil, fmt.Errorf("%w: malformed mac", ErrScan)
	}
	return values, nil
}

// read fills s from values and checks that it would be written the same way again.
func (s *Scan) read(values []string) error {
	unix, err := strconv.ParseInt(values[1], 10, 64)
	if err != nil {
		return fmt.Errorf("%w: malformed time", ErrScan)
	}
	s.Time, s.Host, s.QueueID = time.Unix(unix, 0).UTC(), values[2], values[3]
	if s.Action, err = ParseAction(values[4]); err != nil {
		return fmt.Errorf("%w: %w", ErrScan, err)
	}
	if values[5] != "" {
		s.Tags = strings.Split(values[5], ",")
	}
	if s.Score, err = strconv.ParseFloat(values[6], 64); err != nil {
		return fmt.Errorf("%w: malformed score", ErrScan)
	}
	for i, value := range s.fields() {
		if value != values[i] {
			return fmt.Errorf("%w: malformed %s", ErrScan, scanKeys[i])
		}
	}
	return nil
}

// CleanTags gives tags as they may be written and stored: lower case, characters outside [a-z0-9._-]
// replaced by "-", at most 40 long, no empty or repeated ones, at most 32 of them.
func CleanTags(tags []string) []string {
	var clean []string
	for _, t := range tags {
		if len(clean) == maxScanTags {
			break
		}
		if t = cleanTag(t); t != "" && !slices.Contains(clean, t) {
			clean = append(clean, t)
		}
	}
	return clean
}

func cleanTag(t string) string {
	if scanTag.MatchString(t) {
		return t
	}
	t = Clean(t, 4*maxScanTag)
	b := make([]byte, 0, maxScanTag)
	for _, r := range strings.ToLower(t) {
		if len(b) == maxScanTag {
			break
		}
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			b = append(b, byte(r))
		} else {
			b = append(b, '-')
		}
	}
	return string(b)
}

// token makes s fit between "=" and ";".
func token(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	if scanToken.MatchString(s) {
		return s
	}
	b := []byte(s)
	for i := range b {
		if !scanToken.Match(b[i : i+1]) {
			b[i] = '-'
		}
	}
	return string(b)
}

func formatScore(score float64) string {
	if math.IsNaN(score) {
		score = 0
	}
	score = math.Round(min(max(score, -maxScore), maxScore)*1000) / 1000
	return strconv.FormatFloat(score+0, 'f', -1, 64) // +0 turns -0 into 0
}

// scanAtoms gives the pieces of one pair between which the value may be folded.
func scanAtoms(key, value string) []string {
	atoms := strings.SplitAfter(" "+key+"="+value+";", ",")
	for i := 1; i < len(atoms); i++ {
		atoms[i] = " " + atoms[i]
	}
	return atoms
}

// fold joins atoms, each of which begins with a space, breaking lines before column 78. The first line
// shares its columns with the field's name.
func fold(atoms []string) string {
	var b strings.Builder
	column := len(ScanField) + len(":")
	for i, atom := range atoms {
		if column+len(atom) > foldColumn && i > 0 {
			b.WriteString("\r\n")
			column = 0
		}
		b.WriteString(atom)
		column += len(atom)
	}
	return strings.TrimPrefix(b.String(), " ")
}
