package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
)

var everyWord = []map[string][2]string{
	levelWords, actionWords, factorWords, evidenceWords, unknownWords, degradedWords, trustWords, reasonWords,
}

func TestEveryWordIsInBothLanguages(t *testing.T) {
	for _, list := range everyWord {
		for key, w := range list {
			require.NotEmpty(t, w[0], key)
			require.NotEmpty(t, w[1], key)
		}
	}
}

// An explanation with everything that the engine may say tells it in both languages, without a key or a format left over.
func TestEverythingIsTold(t *testing.T) {
	since := time.Date(2026, 4, 1, 5, 5, 0, 0, time.UTC)
	spam := 7.25
	for _, language := range []string{"en", "ja"} {
		for name := range evidenceWords {
			for _, usual := range []float64{0, 7} {
				x := wire.OutboundExplanation{
					Account: wire.OutboundAccount{Account: "bob@one.test", Level: "hard_limit", Act: "auto_suspend", Automatic: true, Since: &since},
					Decision: &wire.OutboundDecision{ID: "1-x", At: since, Mode: "shadow", Action: "allow", LevelAfter: "normal",
						Would: "refuse_suspended", WouldLevel: "hard_limit"},
					Factors: []wire.OutboundFactor{{Name: "rate", Value: 0.9, Weight: 0.4, Share: 0.36}}, HardAt: 0.8, SoftAt: 0.5,
					Evidence: []wire.OutboundEvidence{{Name: name, Factor: "rate", Value: 0.9, Share: 0.36, Raw: 1412, Usual: usual, Limit: 80,
						Unit: "recipients", WindowSeconds: 3600}},
					Corroborators: []string{name}, Unknown: []string{"place", "spam", "bounces", "new"},
					Degraded: []string{"filter", "store", "bounces"}, ColdStart: true, Trust: "away",
					Limit: &wire.OutboundLimit{Reason: "user_per_hour", Count: 201, Max: 200}, Reply: "550 no", Policy: "p",
					Groups: []wire.OutboundGroup{{Count: 2, Messages: []wire.OutboundDecision{{At: since, MailFrom: "a\x1b[2J", SpamScore: &spam, Action: "hold"}}}},
				}
				tell(&x, language, time.FixedZone("JST", 9*3600))
				assert.NotContains(t, x.Text, "%!", name)
				assert.NotContains(t, x.Text, "\x1b", "texts of strangers are quoted")
				assert.Contains(t, x.Text, x.Sentence)
				assert.Contains(t, x.Text, "14:05 JST")
				assert.Contains(t, x.Sentence, "201")
				assert.Contains(t, x.Text, evidenceWords[name][map[string]int{"en": 0, "ja": 1}[language]])
				for _, key := range []string{"user_per_hour", "hard_limit", "refuse_suspended"} {
					assert.NotContains(t, x.Text, key, language)
				}
			}
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	assert.Equal(t, "1,234,567", number(1234567))
	assert.Equal(t, "-1,000", number(-1000))
	assert.Equal(t, "999", number(999))
	assert.Equal(t, "15 %", quantity(0.148, "share"))
	assert.Equal(t, "7.2", quantity(7.2, "score"))
	en, ja := &teller{}, &teller{ja: true}
	assert.Equal(t, "1 h 10 min 24 h 90 s all", strings.Join([]string{en.window(3600), en.window(600), en.window(86400), en.window(90), en.window(0)}, " "))
	assert.Equal(t, "24 時間", ja.window(86400))
}

func TestNewPlacesAreToldWithTheirCountries(t *testing.T) {
	for _, c := range []struct {
		kind      string
		countries []string
		en, ja    string
	}{
		{"country", []string{"NG"}, "This is the first mail of this account from Nigeria (NG).", "このアカウントのナイジェリア (NG)からの送信は初めてです。"},
		{"network", []string{"JP"}, "It came from a network in Japan (JP) where this account was not seen before.", "ネットワーク（日本 (JP)）"},
		{"network", nil, "It came from a place where this account was not seen before.", "見たことのない場所"},
		{"", nil, "It came from a place where this account was not seen before.", "見たことのない場所"}, // what is kept from before
		{"countries", []string{"JP", "NG", "QQ"}, "several countries within 6 h: Japan (JP), Nigeria (NG), QQ.", "6 時間以内に複数の国から送信しています：日本 (JP)、ナイジェリア (NG)、QQ。"},
		{"networks", []string{"JP"}, "several new networks within 6 h.", "6 時間以内に複数の新しいネットワーク"},
	} {
		for language, want := range map[string]string{"en": c.en, "ja": c.ja} {
			x := wire.OutboundExplanation{
				Country: "NG", Factors: []wire.OutboundFactor{{Name: "history", Value: 0.6, Weight: 0.2, Share: 0.12}},
				Evidence: []wire.OutboundEvidence{{
					Name: "place", Factor: "history", Value: 0.6, Share: 0.12, Raw: 1, Unit: "places", WindowSeconds: 21600, Kind: c.kind, Countries: c.countries,
				}},
			}
			tell(&x, language, nil)
			assert.Contains(t, x.Sentence, want)
			assert.Contains(t, x.Text, map[string]string{"en": "Country: Nigeria (NG)\n", "ja": "送信元の国：ナイジェリア (NG)\n"}[language])
			if len(c.countries) > 0 {
				assert.Contains(t, x.Text, Country(c.countries[len(c.countries)-1], language)+map[string]string{"en": ")  →", "ja": "）  →"}[language], c.kind)
			}
		}
	}
}

func TestCountriesHaveNamesInBothLanguages(t *testing.T) {
	assert.Equal(t, "Germany (DE)", Country("DE", "en"))
	assert.Equal(t, "ドイツ (DE)", Country("DE", "ja"))
	assert.Empty(t, Country("", "en"))
	assert.Equal(t, "?!", Country("?!", "ja"))
}
