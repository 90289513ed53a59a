package outbound

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
)

// contentOf gives the facts of a message that the engine judges, and whether a filter has looked at it. No content is kept.
func contentOf(m *mail.Message, v mail.Verdict) (c policy.Content, known bool) {
	c = policy.Content{SizeBytes: m.SizeBytes, Fingerprint: fingerprint(m)}
	raw, known := v.Metadata["rspamd"]
	if !known {
		return c, false
	}
	var found struct {
		Score   float64
		Symbols []struct {
			Name  string
			Score float64
		}
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return c, false
	}
	c.SpamKnown = true
	c.Spam = micro(found.Score)
	for _, s := range found.Symbols {
		c.Malware = c.Malware || s.Score > 0 && isMalware(s.Name)
		c.ListedURL = c.ListedURL || s.Score > 0 && isListedURL(s.Name)
	}
	return c, true
}

// micro is a score in millionths, within what the engine takes.
func micro(score float64) int64 {
	const most = 1e6
	if math.IsNaN(score) {
		return 0
	}
	return int64(math.Round(max(min(score, most), -most) * policy.Micro))
}

// isMalware knows rspamd's symbols of its antivirus modules, which all end alike by default, and of URLs to malware.
func isMalware(symbol string) bool {
	return strings.HasSuffix(symbol, "_VIRUS") || strings.Contains(symbol, "MALWARE")
}

// rspamd's symbols of URLs on lists (scores.d/surbl_group.conf and phishing_group.conf).
var (
	urlPrefixes = []string{"URIBL_", "SURBL_", "DBL_", "PHISHED_", "PH_SURBL_", "MW_SURBL_", "CRACKED_SURBL", "ABUSE_SURBL", "SEM_URIBL", "RSPAMD_URIBL", "URL_IN_"}
	// unlisted are those of these names that say no more than that a list was asked, or of a redirector.
	unlisted = []string{"URIBL_BLOCKED", "URIBL_GREY", "DBL_BLOCKED", "DBL_BLOCKED_OPENRESOLVER", "DBL_PROHIBIT", "SURBL_BLOCKED", "SURBL_HASHBL_BLOCKED"}
)

func isListedURL(symbol string) bool {
	return !slices.Contains(unlisted, symbol) &&
		slices.ContainsFunc(urlPrefixes, func(p string) bool { return strings.HasPrefix(symbol, p) })
}
