package mail

import (
	"crypto/sha256"
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
	maxScanValue = 4096
	maxScanTags  = 32
	maxScanTag   = 40
	maxScanHost  = 255
	maxScanID    = 64
	maxScore     = 1e6
	maxUnixTime  = 253402300799 // the end of year 9999
	foldColumn   = 78
)

// The versions of the field. In the first the MAC covered the sender that LMTP had, so that a verdict was lost where Postfix gave the milter another
// one (ADR 0029). It is read still, for mail that was stored or queued with it.
const (
	scanFirstVersion = "1"
	scanVersion      = "2"
)

// scanKeys are the keys of each version, in order; the MAC comes last and covers all before it.
var scanKeys = map[string][]string{
	scanFirstVersion: {"v", "t", "h", "q", "a", "tags", "score", "m"},
	scanVersion:      {"v", "t", "h", "q", "s", "a", "tags", "score", "m"},
}

var (
	scanToken   = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]*$`)
	scanTag     = regexp.MustCompile(`^[a-z0-9._-]{1,40}$`)
	scanSender  = regexp.MustCompile(`^[0-9a-f]{16}$`)
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
	// SenderDigest is that of the envelope sender that the milter saw: DigestSender.
	SenderDigest string
	// Body is the digest of the body (BodyHash). It is covered by the MAC and not written down: whoever reads the header knows it from elsewhere.
	Body [32]byte
}

// DigestSender names an envelope sender in 16 hex digits: the beginning of the SHA-256 of its folded form.
func DigestSender(sender Address) string {
	sum := sha256.Sum256([]byte(sender.Fold().String()))
	return hex.EncodeToString(sum[:8])
}

// Value gives the field's value, in ASCII and folded with CRLF and a space before column 78 where that
// can be done:
//
//	v=2; t=<unix time>; h=<host>; q=<queue id>; s=<digest of the sender>; a=<action>; tags=a,b; score=1.25; m=<mac>
//
// mac authenticates its arguments, keeping their borders apart, and names its own key ("v1.<key id>.…",
// letters, digits, dots, "-" and "_" only). What does not fit the form is made to fit, never refused.
func (s Scan) Value(mac func(fields ...string) string) string {
	fields := s.fields(scanVersion)
	sum := mac(append(slices.Clone(fields), hex.EncodeToString(s.Body[:]))...)
	var atoms []string
	for i, value := range fields {
		atoms = append(atoms, scanAtoms(scanKeys[scanVersion][i], value)...)
	}
	return fold(append(atoms, " m="+sum))
}

// fields gives the values of all keys but the MAC's.
func (s Scan) fields(version string) []string {
	keys := scanKeys[version]
	fields := make([]string, len(keys)-1)
	for i := range fields {
		fields[i] = s.field(version, keys[i])
	}
	return fields
}

func (s Scan) field(version, key string) string {
	switch key {
	case "v":
		return version
	case "t":
		return strconv.FormatInt(min(max(s.Time.Unix(), 0), maxUnixTime), 10)
	case "h":
		return token(s.Host, maxScanHost)
	case "q":
		return token(s.QueueID, maxScanID)
	case "s":
		if !scanSender.MatchString(s.SenderDigest) {
			return DigestSender(Address{})
		}
		return s.SenderDigest
	case "a":
		return s.Action.String()
	case "tags":
		return strings.Join(CleanTags(s.Tags), ",")
	default:
		return formatScore(s.Score)
	}
}

// ParseScan reads a value that Value made, perhaps folded differently since. It asks verify about the MAC
// over what it read together with the body, in version 1 with sender too, and gives verify's error as it is, wrapped. It is
// strict: any other version, key, order or spelling is an error that wraps ErrScan. How old the verdict is
// and whose queue id it names is for the caller to judge. That the milter saw another sender is no fault.
func ParseScan(value string, sender Address, body [32]byte, verify func(mac string, fields ...string) error) (Scan, error) {
	if len(value) > maxScanValue {
		return Scan{}, fmt.Errorf("%w: longer than %d bytes", ErrScan, maxScanValue)
	}
	values, err := splitScan(foldingRepl.Replace(value))
	if err != nil {
		return Scan{}, err
	}
	s := Scan{Body: body}
	if err := s.read(values); err != nil {
		return Scan{}, err
	}
	last := len(values) - 1
	covered := slices.Clone(values[:last])
	if values[0] == scanFirstVersion {
		s.SenderDigest = DigestSender(sender)
		covered = append(covered, sender.Fold().String())
	}
	if err := verify(values[last], append(covered, hex.EncodeToString(body[:]))...); err != nil {
		return Scan{}, fmt.Errorf("verify scan header: %w", err)
	}
	return s, nil
}

// splitScan gives the values of the keys of the version that it is, MAC last.
func splitScan(value string) ([]string, error) {
	pairs := strings.Split(value, ";")
	version, _ := strings.CutPrefix(pairs[0], "v=")
	keys := scanKeys[version]
	if "v="+version != pairs[0] || keys == nil {
		return nil, fmt.Errorf("%w: version is not %s", ErrScan, scanVersion)
	}
	if len(pairs) != len(keys) {
		return nil, fmt.Errorf("%w: %d keys instead of %d", ErrScan, len(pairs), len(keys))
	}
	values := make([]string, len(pairs))
	for i, pair := range pairs {
		v, ok := strings.CutPrefix(pair, keys[i]+"=")
		if !ok {
			return nil, fmt.Errorf("%w: key %s is not where it belongs", ErrScan, keys[i])
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
	version, keys := values[0], scanKeys[values[0]]
	for i, value := range values[:len(values)-1] {
		if err := s.readField(keys[i], value); err != nil {
			return fmt.Errorf("%w: malformed %s: %w", ErrScan, keys[i], err)
		}
		if s.field(version, keys[i]) != value {
			return fmt.Errorf("%w: malformed %s", ErrScan, keys[i])
		}
	}
	return nil
}

func (s *Scan) readField(key, value string) (err error) {
	switch key {
	case "t":
		var unix int64
		unix, err = strconv.ParseInt(value, 10, 64)
		s.Time = time.Unix(unix, 0).UTC()
	case "h":
		s.Host = value
	case "q":
		s.QueueID = value
	case "s":
		s.SenderDigest = value
	case "a":
		s.Action, err = ParseAction(value)
	case "tags":
		if value != "" {
			s.Tags = strings.Split(value, ",")
		}
	case "score":
		s.Score, err = strconv.ParseFloat(value, 64)
	}
	return err
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
