package notify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
)

func written(t *testing.T, language string, n Notice) (m message, headline, text, link string) {
	t.Helper()
	row, err := n.Row()
	require.NoError(t, err)
	w := writer{language: language, hostname: "mx", link: func(account string) string { return "https://x.test/" + account }}
	m = messageOf(row)
	return m, w.headline(m), w.text(m), w.page(m)
}

func TestEveryKindIsToldInBothLanguages(t *testing.T) {
	for kind, told := range texts {
		for _, language := range []string{"en", "ja"} {
			m, headline, text, _ := written(t, language, Notice{Account: "bob@one.test", Kind: kind, Facts: Facts{Mode: "enforce"}})
			assert.Contains(t, headline, "bob@one.test", kind)
			assert.NotContains(t, headline, "%!", kind)
			meaning, _, _ := strings.Cut(text, "\n")
			assert.NotEmpty(t, meaning, "%s in %s", kind, language)
			assert.Equal(t, string(kind), m.Kind)
		}
		assert.NotEqual(t, told.headline.en, told.headline.ja)
	}
	for mode, told := range modes {
		assert.NotEmpty(t, told.en, mode)
		assert.NotEmpty(t, told.ja, mode)
	}
}

func TestModesAndProfilesNameWhatTheyAreAbout(t *testing.T) {
	tenant := Notice{Tenant: "t1", Account: WholeTenant, Kind: ModeChanged, Facts: Facts{Tenant: "example", ModeBefore: "shadow", Mode: "enforce", Reason: "two weeks", By: "boss"}}
	m, headline, text, link := written(t, "en", tenant)
	assert.Equal(t, "Outbound mode changed by an administrator: the whole tenant example: shadow → enforce", headline)
	assert.Contains(t, text, "Automatic decisions take effect")
	assert.Contains(t, text, "Mode: shadow → enforce\n")
	assert.NotContains(t, text, "Account:")
	assert.Empty(t, link, "there is no account to show")
	assert.Empty(t, eventOf(m, "mx").Account)
	_, headline, text, _ = written(t, "ja", tenant)
	assert.Equal(t, "管理者が送信監視のモードを変更しました: テナント example 全体: shadow → enforce", headline)
	assert.Contains(t, text, "理由: two weeks\n")

	_, headline, _, link = written(t, "en", Notice{Account: "bob@one.test", Kind: ModeChanged, Facts: Facts{ModeBefore: "enforce", Mode: "off"}})
	assert.Equal(t, "Outbound mode changed by an administrator: bob@one.test: enforce → off", headline)
	assert.Equal(t, "https://x.test/bob@one.test", link)

	profile := Notice{Account: OfProfile("news"), Kind: ProfileSet, Facts: Facts{Tenant: "example\nevil", Profile: "news", MaxRate: "5 msgs/hour", ProfileAccounts: 3}}
	m, headline, text, _ = written(t, "en", profile)
	assert.Equal(t, "Bulk sender changed by an administrator: news (example evil)", headline, "in one line")
	assert.Contains(t, text, "Rate: 5 msgs/hour\nAccounts: 3\n")
	assert.Equal(t, store.Notice{Account: "*news", Kind: "profile_set", Facts: m.Facts}, m.Notice)
	_, headline, _, _ = written(t, "ja", Notice{Account: OfProfile("news"), Kind: ProfileDeleted, Facts: Facts{Tenant: "example", Profile: "news"}})
	assert.Equal(t, "管理者が一括送信プロファイルを削除しました: news (example)", headline)
}
