package mail_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

var errMAC = errors.New("wrong mac")

// testMAC stands in for the keyring: HMAC over the fields with their lengths.
func testMAC(fields ...string) string {
	h := hmac.New(sha256.New, []byte("key"))
	for _, f := range fields {
		h.Write([]byte{byte(len(f) >> 8), byte(len(f))})
		h.Write([]byte(f))
	}
	return "v1.k1." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func testVerify(mac string, fields ...string) error {
	if !hmac.Equal([]byte(mac), []byte(testMAC(fields...))) {
		return errMAC
	}
	return nil
}

var sender = mail.Address{Local: "Bob", Domain: "example.org"}

func sampleScan() mail.Scan {
	return mail.Scan{
		Time: time.Unix(1767225600, 0).UTC(), Host: "mx1.example.test", QueueID: "4XYZ123abc", Action: mail.Tag,
		Tags: []string{"spam", "greylist.x"}, Score: 1.25,
		SenderDigest: mail.DigestSender(sender), Body: [32]byte{1, 2, 3},
	}
}

func TestScanIsReadBackAsWritten(t *testing.T) {
	s := sampleScan()
	value := s.Value(testMAC)
	require.Equal(t, "v=2; t=1767225600; h=mx1.example.test; q=4XYZ123abc;\r\n"+
		" s=686b5e4cf4f963ad; a=tag; tags=spam, greylist.x; score=1.25;\r\n"+
		" m="+value[strings.Index(value, "v1."):], value)

	got, err := mail.ParseScan(value, sender, s.Body, testVerify)
	require.NoError(t, err)
	require.Equal(t, s, got)
}

func TestScanSurvivesAnyFolding(t *testing.T) {
	s := sampleScan()
	s.SenderDigest, s.Tags = mail.DigestSender(mail.Address{}), nil
	flat := strings.NewReplacer("\r\n", "", " ", "").Replace(s.Value(testMAC))
	for _, value := range []string{flat, " " + flat + " ", strings.ReplaceAll(flat, ";", ";\r\n\t"), strings.ReplaceAll(flat, "=", "=\n ")} {
		got, err := mail.ParseScan(value, sender, s.Body, testVerify)
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
}

// Postfix gives a milter another sender than LMTP, for some: "MAILER-DAEMON" is none there, "a%b@localhost" is "a@b" here.
func TestScanHoldsWhateverSenderLMTPHas(t *testing.T) {
	s := sampleScan()
	for _, other := range []mail.Address{{}, sender, {Local: "eve", Domain: "example.org"}} {
		got, err := mail.ParseScan(s.Value(testMAC), other, s.Body, testVerify)
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
}

// valueOfVersion1 is as it was written before there was a second version.
func valueOfVersion1(mac func(fields ...string) string) string {
	fields := []string{"1", "1767225600", "mx1.example.test", "4XYZ123abc", "tag", "spam,greylist.x", "1.25"}
	sum := mac(append(slices.Clone(fields), "bob@example.org", "0102030000000000000000000000000000000000000000000000000000000000")...)
	value := ""
	for i, key := range []string{"v", "t", "h", "q", "a", "tags", "score"} {
		value += key + "=" + fields[i] + "; "
	}
	return value + "m=" + sum
}

func TestScanOfTheFirstVersionHoldsForItsSender(t *testing.T) {
	s := sampleScan()
	value := valueOfVersion1(testMAC)
	got, err := mail.ParseScan(value, mail.Address{Local: "bOB", Domain: "example.org"}, s.Body, testVerify)
	require.NoError(t, err)
	require.Equal(t, s, got)
	_, err = mail.ParseScan(value, mail.Address{Local: "eve", Domain: "example.org"}, s.Body, testVerify)
	require.ErrorIs(t, err, errMAC)
}

func TestScanValueIsMadeToFit(t *testing.T) {
	s := sampleScan()
	s.Host, s.QueueID = "evil; a=allow\r\nX: y 山", strings.Repeat("Q", 100)
	s.Score = math.Inf(1)
	s.Tags = []string{"UP case", "up-case", "", "山", strings.Repeat("x", 99), "a;b,c=d\r\n"}
	for range 50 {
		s.Tags = append(s.Tags, "t"+strings.Repeat("y", len(s.Tags)))
	}
	value := s.Value(testMAC)
	require.LessOrEqual(t, len(value), 4096)
	for i, line := range strings.Split(mail.ScanField+": "+value, "\r\n") {
		require.LessOrEqual(t, len(line), 78)
		require.Regexp(t, `^[ -~]+$`, line)
		require.True(t, i == 0 || strings.HasPrefix(line, " "))
	}
	got, err := mail.ParseScan(value, sender, s.Body, testVerify)
	require.NoError(t, err)
	require.Equal(t, "evil--a-allow--X:-y----", got.Host)
	require.Len(t, got.QueueID, 64)
	require.InDelta(t, 1e6, got.Score, 0)
	require.Len(t, got.Tags, 32)
	require.Equal(t, []string{"up-case", "-", strings.Repeat("x", 40), "a-b-c-d--"}, got.Tags[:4])

	for _, score := range []float64{math.NaN(), math.Copysign(0, -1), -0.0001, 1e-9} {
		s.Score = score
		got, err = mail.ParseScan(s.Value(testMAC), sender, s.Body, testVerify)
		require.NoError(t, err)
		require.Zero(t, got.Score)
	}
}

func TestForgedScanIsRefused(t *testing.T) {
	s := sampleScan()
	value := s.Value(testMAC)
	replace := func(from, to string) string {
		require.Contains(t, value, from)
		return strings.Replace(value, from, to, 1)
	}
	for name, forged := range map[string]string{
		"empty":             "",
		"first version":     replace("v=2", "v=1"),
		"of version 1":      strings.Replace(valueOfVersion1(testMAC), "v=1", "v=2", 1),
		"unknown version":   replace("v=2", "v=3"),
		"sender":            replace("s=6", "s=9"),
		"sender spelled":    replace("s=686b5e4cf4f963ad", "s=686B5E4CF4F963AD"),
		"no sender":         replace("s=686b5e4cf4f963ad", "s="),
		"time":              replace("t=1767225600", "t=1767225601"),
		"time spelled anew": replace("t=1767225600", "t=+1767225600"),
		"time beyond":       replace("t=1767225600", "t=99999999999999"),
		"negative time":     replace("t=1767225600", "t=-1"),
		"host":              replace("h=mx1", "h=mx2"),
		"queue id":          replace("q=4XYZ", "q=5XYZ"),
		"action":            replace("a=tag", "a=allow"),
		"unknown action":    replace("a=tag", "a=bless"),
		"tags":              replace("greylist.x", "greylist.y"),
		"repeated tag":      replace("greylist.x", "spam"),
		"upper case tag":    replace("greylist.x", "Greylist"),
		"empty tag":         replace("spam,", "spam,,"),
		"score":             replace("score=1.25", "score=-1.25"),
		"score spelled":     replace("score=1.25", "score=1.250"),
		"score not finite":  replace("score=1.25", "score=NaN"),
		"mac":               value[:len(value)-1] + "!",
		"no mac":            value[:strings.Index(value, "m=v1")+2],
		"key missing":       replace(" score=1.25;", ""),
		"key twice":         replace("a=tag;", "a=tag; a=tag;"),
		"key unknown":       replace("a=tag;", "a=tag; x=1;"),
		"order":             replace("v=2; t=1767225600;", "t=1767225600; v=2;"),
		"text behind":       value + ";",
		"too long":          value + strings.Repeat(" ", 4096),
	} {
		_, err := mail.ParseScan(forged, sender, s.Body, testVerify)
		require.Error(t, err, name)
		require.True(t, errors.Is(err, mail.ErrScan) || errors.Is(err, errMAC), name)
	}
	_, err := mail.ParseScan(value, sender, [32]byte{9}, testVerify)
	require.ErrorIs(t, err, errMAC)
}

func FuzzParseScan(f *testing.F) {
	s := sampleScan()
	f.Add(s.Value(testMAC))
	f.Add(valueOfVersion1(testMAC))
	f.Add("v=1;t=0;h=;q=;a=allow;tags=;score=0;m=x")
	f.Add("v=1; t=1; h=a; q=b; a=reject; tags=a,b; score=-1.5; m=v1.k.x")
	f.Add("v=2;")
	f.Fuzz(func(t *testing.T, value string) {
		trust := func(string, ...string) error { return nil }
		got, err := mail.ParseScan(value, sender, s.Body, trust)
		if err != nil {
			require.ErrorIs(t, err, mail.ErrScan)
			return
		}
		again, err := mail.ParseScan(got.Value(testMAC), sender, s.Body, testVerify)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
