package ui

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/text/language"
)

//go:embed text/*.json
var textFiles embed.FS

// languages are those that have a catalogue, the first being the one for everybody else.
var languages = [...]string{"en", "ja"}

// catalogues are the words of the UI: by language, by key.
type catalogues struct {
	words   map[string]map[string]string
	matcher language.Matcher
}

func (s *Server) loadWords() error {
	c := &catalogues{words: map[string]map[string]string{}}
	var tags []language.Tag
	for _, l := range languages {
		raw, err := textFiles.ReadFile("text/" + l + ".json")
		if err != nil {
			return fmt.Errorf("load words: %w", err)
		}
		var words map[string]string
		if err := json.Unmarshal(raw, &words); err != nil {
			return fmt.Errorf("load words: %s: %w", l, err)
		}
		c.words[l] = words
		tags = append(tags, language.MustParse(l))
	}
	c.matcher = language.NewMatcher(tags)
	s.words = c
	return nil
}

// say gives the text of a key in a language. pairs are names of placeholders, each followed by its value. A text
// that counts has a form of its own for 1, under key + ".one".
func (c *catalogues) say(lang, key string, pairs ...any) string {
	text, ok := c.words[lang][key]
	if !ok {
		return key
	}
	if len(pairs) >= 2 && pairs[0] == "n" && fmt.Sprint(pairs[1]) == "1" {
		if one, ok := c.words[lang][key+".one"]; ok {
			text = one
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, "{"+fmt.Sprint(pairs[i])+"}", fmt.Sprint(pairs[i+1]))
	}
	return text
}

// accepted gives the language after Accept-Language (RFC 9110, 12.5.4).
func (c *catalogues) accepted(r *http.Request) string {
	header := r.Header.Get("Accept-Language")
	if len(header) > 200 {
		return languages[0]
	}
	_, at := language.MatchStrings(c.matcher, header)
	return languages[at]
}

func knownLanguage(l string) bool {
	for _, known := range languages {
		if l == known {
			return true
		}
	}
	return false
}
