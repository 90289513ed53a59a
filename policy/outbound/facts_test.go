package outbound

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

func printOf(text string) uint64 {
	return fingerprint(&mail.Message{Summary: &mail.Summary{Preview: text}})
}

const english = "Your mailbox is nearly full. Please confirm your password at the page of our helpdesk within two days, or it will be closed " +
	"and all messages in it are lost. We are sorry for the inconvenience, and thank you for your patience. The helpdesk team of your provider."

const japanese = "平素よりお世話になっております。お客様のメールボックスの容量が上限に近づいております。二日以内に下記のページにてパスワードをご確認ください。" +
	"ご確認いただけない場合は、メールボックスは閉鎖され、すべてのメールが失われます。ご不便をおかけいたしますが、何卒よろしくお願い申し上げます。"

// A campaign that is personalised is mostly one fingerprint: enough for its count to rise.
func TestPersonalisedCopiesMostlyShareAFingerprint(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, text := range map[string]string{"english": english, "japanese": japanese} {
		counts, most := map[uint64]int{}, 0
		for i := range 200 {
			greeting := fmt.Sprintf("Dear %s, case no. %d! ", []string{"Alice", "Bob", "Mr. Tanaka", "花子様", "Christopher"}[random.IntN(5)], i)
			p := printOf(greeting + strings.ToUpper(text[:1]) + text[1:])
			counts[p]++
			most = max(most, counts[p])
		}
		require.Greater(t, most, 120, name)
		require.Less(t, len(counts), 20, name)
	}
	require.NotEqual(t, printOf(english), printOf(japanese))
}

func TestDifferentMailWithTheSameSignatureDiffers(t *testing.T) {
	signature := " -- Taro Tanaka, Example Inc., Marunouchi, Tokyo, https://example.test/"
	seen := map[uint64]bool{}
	words := strings.Fields(english)
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		var text []string
		for range 60 {
			text = append(text, words[random.IntN(len(words))])
		}
		seen[printOf(strings.Join(text, " ")+signature)] = true
	}
	require.Greater(t, len(seen), 90)
}

func TestLittleTextIsToldByWhatIsAttached(t *testing.T) {
	m := &mail.Message{Summary: &mail.Summary{Preview: "see attached"}}
	require.Zero(t, fingerprint(m))
	m.Summary.Parts = []mail.Part{{Type: "application/pdf", Name: "a.pdf", DecodedSize: 100}}
	one := fingerprint(m)
	require.NotZero(t, one)
	m.Summary.Parts[0].Name = "b.pdf"
	require.Equal(t, one, fingerprint(m), "names change too easily")
	m.Summary.Parts[0].DecodedSize = 101
	require.NotEqual(t, one, fingerprint(m))
	m.Summary.Parts, m.Summary.Hosts = nil, []string{"phish.test"}
	require.NotZero(t, fingerprint(m))
}

func FuzzFingerprintTakesAnyText(f *testing.F) {
	f.Add(english)
	f.Add("\xff\x00" + japanese)
	f.Fuzz(func(t *testing.T, text string) {
		require.Equal(t, printOf(text), printOf(text+"0123456789 !?"), "digits and signs don't count")
	})
}

func TestFactsOfTheFilterAreReadAndBadOnesAreUnknown(t *testing.T) {
	m := &mail.Message{SizeBytes: 7, Summary: &mail.Summary{}}
	read := func(raw string) (policy.Content, bool) {
		return contentOf(m, mail.Verdict{Metadata: map[string]json.RawMessage{"rspamd": json.RawMessage(raw)}})
	}
	for _, row := range []struct {
		raw             string
		known           bool
		spam            int64
		malware, listed bool
	}{
		{`{"score": 6.5, "symbols": [{"name": "BAYES_SPAM", "score": 5}]}`, true, 6_500_000, false, false},
		{`{"score": -1e300}`, true, -1e12, false, false},
		{`{"score": 20, "symbols": [{"name": "CLAM_VIRUS", "score": 8}]}`, true, 20_000_000, true, false},
		{`{"score": 7, "symbols": [{"name": "URIBL_BLACK", "score": 7.5}, {"name": "URIBL_BLOCKED", "score": 0}]}`, true, 7_000_000, false, true},
		{`{"score": 0, "symbols": [{"name": "URIBL_BLOCKED", "score": 1}, {"name": "DBL_SPAM", "score": 0}]}`, true, 0, false, false},
		{`{"score": "x"}`, false, 0, false, false},
		{`nonsense`, false, 0, false, false},
	} {
		c, known := read(row.raw)
		require.Equal(t, row.known, known, row.raw)
		require.Equal(t, policy.Content{SizeBytes: 7, SpamKnown: row.known, Spam: row.spam, Malware: row.malware, ListedURL: row.listed}, c, row.raw)
	}
	_, known := contentOf(m, mail.Verdict{Score: 9})
	require.False(t, known)
}

func TestWhatARowMeansForAStateThatDidNotKnow(t *testing.T) {
	p, err := policy.Compile(policy.Options{Mode: policy.Enforce}, nil)
	require.NoError(t, err)
	at := func(l policy.Level) *policy.State {
		_, st := policy.Decide(policy.State{}, policy.Event{Kind: policy.KindSetLevel, Level: l, Mode: policy.Enforce}, p, 1e15)
		require.Equal(t, l, st.Level())
		return &st
	}
	until, begun, later, old := time.UnixMicro(2e15), time.UnixMicro(1e15), time.UnixMicro(1e15+1), time.UnixMicro(1e15).Add(-72*time.Hour)
	for _, row := range []struct {
		row   store.OutboundAccount
		is    policy.Level
		event policy.Event
		acts  bool
	}{
		{store.OutboundAccount{Act: "suspend", Level: store.LevelHardLimit, Until: until}, policy.Normal, policy.Event{Kind: policy.KindStop, UntilUS: 2e15}, true},
		{store.OutboundAccount{Act: "release", Level: store.LevelSoftLimit, CapPerHour: 9, Until: until}, policy.HardLimit, policy.Event{Kind: policy.KindReenable, Level: policy.SoftLimit, Cap: 9, UntilUS: 2e15}, true},
		{store.OutboundAccount{Act: "release", Level: store.LevelNormal}, policy.HardLimit, policy.Event{Kind: policy.KindReenable, Level: policy.Normal}, true},
		{store.OutboundAccount{Act: "limit", Level: store.LevelSoftLimit, CapPerHour: 5, Until: until}, policy.Normal, policy.Event{Kind: policy.KindSetLevel, Level: policy.SoftLimit, Cap: 5, UntilUS: 2e15}, true},
		{store.OutboundAccount{Act: actLimit, Level: store.LevelSoftLimit, Since: begun}, policy.HardLimit, policy.Event{}, false},
		{store.OutboundAccount{Act: actLimit, Level: store.LevelSoftLimit, Since: begun}, policy.Normal, policy.Event{Kind: policy.KindLearnLevel, Level: policy.SoftLimit, SinceUS: 1e15}, true},
		{store.OutboundAccount{Act: actLimit, Level: store.LevelSoftLimit, Since: old}, policy.Normal, policy.Event{}, false},
		{store.OutboundAccount{Act: actLimit, Level: store.LevelSoftLimit, Since: old}, policy.SoftLimit, policy.Event{}, false},
		{store.OutboundAccount{Act: actSuspend, Level: store.LevelHardLimit, Since: old}, policy.SoftLimit, policy.Event{Kind: policy.KindLearnLevel, Level: policy.HardLimit, SinceUS: old.UnixMicro()}, true},
		{store.OutboundAccount{Act: actReenable, Level: store.LevelSoftLimit, Since: begun}, policy.HardLimit, policy.Event{Kind: policy.KindReenable, Level: policy.SoftLimit, SinceUS: 1e15}, true},
		{store.OutboundAccount{Act: actReenable, Level: store.LevelSoftLimit, Since: old}, policy.HardLimit, policy.Event{Kind: policy.KindReenable, Level: policy.Normal, SinceUS: old.UnixMicro()}, true},
		{store.OutboundAccount{Act: actReenable, Level: store.LevelSoftLimit, Since: begun}, policy.SoftLimit, policy.Event{}, false},
		{store.OutboundAccount{Act: actRecover, Level: store.LevelNormal, Since: later}, policy.HardLimit, policy.Event{Kind: policy.KindReenable, Level: policy.Normal, SinceUS: 1e15 + 1}, true},
		{store.OutboundAccount{Act: actRecover, Level: store.LevelNormal, Since: begun}, policy.HardLimit, policy.Event{}, false},
		{store.OutboundAccount{Act: actRecover, Level: store.LevelNormal, Since: begun}, policy.SoftLimit, policy.Event{Kind: policy.KindLearnLevel, Level: policy.Normal, SinceUS: 1e15}, true},
		{store.OutboundAccount{Act: actLimit, Level: store.LevelSoftLimit, Since: later}, policy.HardLimit, policy.Event{Kind: policy.KindReenable, Level: policy.SoftLimit, SinceUS: 1e15 + 1}, true},
	} {
		e, acts := actOf(row.row, at(row.is), begun.Add(-p.CleanTime()))
		require.Equal(t, row.acts, acts, "%+v", row.row)
		if acts {
			require.Equal(t, row.event, e, "%+v", row.row)
		}
	}
}

func FuzzKnownIsReadOrRefused(f *testing.F) {
	f.Add(encodeKnown("tanaka@one.test", known{tenant: "t", revision: -7, state: []byte{1, 2}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, k, err := decodeKnown(b)
		if err != nil {
			return
		}
		again, k2, err := decodeKnown(encodeKnown(a, k))
		require.NoError(t, err)
		require.Equal(t, a, again)
		require.Equal(t, k.revision, k2.revision)
		require.Equal(t, string(k.state), string(k2.state))
	})
}
