package main

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
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
	for _, language := range []string{"en", "ja"} {
		text, err := os.ReadFile("../../ui/text/" + language + ".json")
		require.NoError(t, err)
		for part := range report.Parts {
			require.Contains(t, string(text), `"system.part.`+part+`"`, language)
		}
	}
}
