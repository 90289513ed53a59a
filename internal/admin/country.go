package admin

import (
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/mairust/mairust/api/wire"
)

// Country names a country by its ISO 3166 code, as "Nigeria (NG)"; lang is "ja", and English for anything else. The code alone when
// it has no name, and empty for an empty one.
func Country(code, lang string) string {
	region, err := language.ParseRegion(code)
	if err != nil {
		return code
	}
	// Of all languages, the program holds the names of these two.
	names := display.English.Regions()
	if lang == "ja" {
		names = display.Japanese.Regions()
	}
	if name := names.Name(region); name != "" {
		return name + " (" + code + ")"
	}
	return code
}

// countryOf is the country in the stored explanation of a decision; empty when there is none.
func countryOf(explanation string) string {
	var said struct {
		Country string `json:"country"`
	}
	// One that can't be read tells no country; who explains it says so.
	_ = json.Unmarshal([]byte(explanation), &said)
	return said.Country
}

func (t *teller) country(code string) string { return Country(code, t.say("en", "ja")) }

// countries are the names of countries in a list.
func (t *teller) countries(codes []string) string {
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = t.country(code)
	}
	return strings.Join(names, t.say(", ", "、"))
}

// place is a sentence about new places.
func (t *teller) place(e wire.OutboundEvidence) string {
	where := t.countries(e.Countries)
	switch {
	case e.Kind == "country" && where != "":
		return fmt.Sprintf(t.say("This is the first mail of this account from %s.", "このアカウントの%sからの送信は初めてです。"), where)
	case e.Kind == "network" && where != "":
		return fmt.Sprintf(t.say("It came from a network in %s where this account was not seen before.",
			"このアカウントでは見たことのないネットワーク（%s）から送信されました。"), where)
	case e.Kind == "countries" && where != "":
		return fmt.Sprintf(t.say("This account sent from several countries within %s: %s.", "このアカウントは%s以内に複数の国から送信しています：%s。"),
			t.window(e.WindowSeconds), where)
	case e.Kind == "networks":
		return fmt.Sprintf(t.say("This account sent from several new networks within %s.", "このアカウントは%s以内に複数の新しいネットワークから送信しています。"),
			t.window(e.WindowSeconds))
	}
	return t.say("It came from a place where this account was not seen before.", "このアカウントでは見たことのない場所から送信されました。")
}

// client is where a message came from.
func (t *teller) client(m wire.OutboundDecision) string {
	if m.Country == "" {
		return dash(m.Client)
	}
	return dash(m.Client) + " " + m.Country
}
