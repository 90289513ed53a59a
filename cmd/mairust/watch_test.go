package main

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
)

func TestEveryPartThatIsWatchedHasWords(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	resp, err := http.Get(daemon.ops + "/health")
	require.NoError(t, err)
	defer resp.Body.Close()
	var report struct {
		Parts map[string]json.RawMessage `json:"parts"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&report))
	require.Contains(t, report.Parts, "checkpoint")
	for part := range report.Parts {
		require.True(t, alert.Knows(part), "mails about %s", part)
	}
	for _, language := range []string{"en", "ja"} {
		text, err := os.ReadFile("../../ui/text/" + language + ".json")
		require.NoError(t, err)
		for part := range report.Parts {
			require.Contains(t, string(text), `"system.part.`+part+`"`, language)
		}
	}
}

func TestASweepThatNeverComesToItsEndIsAFault(t *testing.T) {
	here := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	here.open(t, func(s *site) {
		var ahead time.Duration
		f, err := fsck.New(s.config.Storage.Sweep, fsck.Deps{
			Store: s.store, Objects: s.objects, Verify: func(string, ...string) error { return nil },
			Now: func() time.Time { return time.Now().Add(ahead) },
		})
		require.NoError(t, err)
		check := (&daemon{config: s.config, site: s, fsck: f}).checkSweep()
		look := func() (err error) { // each minute
			for range 4 {
				ahead += time.Minute
				err = check(t.Context())
			}
			return err
		}
		require.NoError(t, look())
		ahead += 4 * time.Hour
		require.ErrorContains(t, look(), "no sweep has come to its end yet")
		_, err = f.Sweep(t.Context())
		require.NoError(t, err)
		require.NoError(t, look())
		ahead += 4 * time.Hour
		require.ErrorContains(t, look(), "no sweep has come to its end since ")
	})
}

func TestDirectoriesOnTheSameDisksAreOfOneName(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	assert.Equal(t, disksOf([]string{one}), disksOf([]string{other, one}))
	assert.NotEqual(t, disksOf([]string{one}), disksOf([]string{one, "/proc"}))
	assert.Equal(t, disksOf([]string{"/proc", one}), disksOf([]string{one, "/proc"}))
	assert.NotEqual(t, disksOf([]string{one}), disksOf([]string{one, one + "/missing"}))
}
