package mailer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A proof tells a milter of this installation that a letter is ours, so that it is not judged like the mail of a user. It goes in
// the envelope, as the ENVID of MAIL (RFC 3461, section 4.4): "m1.<time>.<sum>.<MAC>", at most 100 characters of printable
// ASCII. The sum is of envelope and letter, and the MAC of time and sum, with a key that only this installation has: whoever
// sees a proof can send the same letter to the same people once more, for a few minutes, and nothing else.

const (
	proofVersion = "m1"
	// proofLasts is how far the clocks of who sends and of who checks, and the way between, may be apart.
	proofLasts = 10 * time.Minute
	// maxEnvID is the bound of RFC 3461.
	maxEnvID = 100
	// sumBytes of the sum are kept: nobody finds another letter with the same.
	sumBytes = 16
	// MaxProvenBytes bounds the body of a letter that can be proven.
	MaxProvenBytes = 128 << 10
)

// ErrNoProof says that a letter is not ours: no proof, an old one, one of another installation, or one of another letter.
var ErrNoProof = errors.New("no proof that the letter is ours")

// Received is a letter as it came to be checked.
type Received struct {
	// From and To are the envelope.
	From string
	To   []string
	// Subject and MessageID are the values of the header fields, as they came.
	Subject, MessageID string
	// Body follows the empty line; it is read up to MaxProvenBytes.
	Body io.Reader
}

// sum tells letters apart. Folding of the header and empty lines at the end make no difference, nor does the case of addresses.
func (r Received) sum() (string, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxProvenBytes+1))
	if err != nil {
		return "", err
	}
	if len(body) > MaxProvenBytes {
		return "", ErrNoProof
	}
	to := slices.Clone(r.To)
	for i := range to {
		to[i] = strings.ToLower(to[i])
	}
	slices.Sort(to)
	fields := append([]string{strings.ToLower(r.From), unfold(r.Subject), unfold(r.MessageID), string(bytes.TrimRight(body, "\r\n"))}, to...)
	h := sha256.New()
	for _, f := range fields {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(f)))
		h.Write(length[:])
		h.Write([]byte(f))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:sumBytes]), nil
}

// unfold takes out all blanks: where a field was folded does not matter.
func unfold(value string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, value)
}

// prove makes a proof; empty when the letter is too long for one.
func prove(r Received, now time.Time, mac func(fields ...string) string) string {
	sum, err := r.sum()
	if err != nil {
		return ""
	}
	at := strconv.FormatInt(now.Unix(), 36)
	proof := strings.Join([]string{proofVersion, at, sum, mac(proofVersion, at, sum)}, ".")
	if len(proof) > maxEnvID {
		return ""
	}
	return proof
}

// Proof is a proof of this installation, of some letter.
type Proof struct {
	sum string
	// Ends is when it is worth nothing more.
	Ends time.Time
}

// ReadProof reads the ENVID of a message and checks, with verify of the keyring, that this installation made it of late. Whether
// the message is the letter is told by Holds. ErrNoProof.
func ReadProof(envid string, now time.Time, verify func(mac string, fields ...string) error) (Proof, error) {
	parts := strings.SplitN(envid, ".", 4)
	if len(envid) > maxEnvID || len(parts) != 4 || parts[0] != proofVersion {
		return Proof{}, ErrNoProof
	}
	if err := verify(parts[3], parts[0], parts[1], parts[2]); err != nil {
		return Proof{}, errors.Join(ErrNoProof, err)
	}
	at, err := strconv.ParseInt(parts[1], 36, 64)
	made := time.Unix(at, 0)
	if err != nil || now.Before(made.Add(-proofLasts)) || !now.Before(made.Add(proofLasts)) {
		return Proof{}, ErrNoProof
	}
	return Proof{sum: parts[2], Ends: made.Add(proofLasts)}, nil
}

// Holds tells whether the letter is the one of the proof: ErrNoProof, or an error of the body.
func (p Proof) Holds(r Received) error {
	sum, err := r.sum()
	if err == nil && sum != p.sum {
		err = ErrNoProof
	}
	return err
}
