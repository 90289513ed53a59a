package ui

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
)

// factorRow is one piece of evidence as the table of factors tells it. Limit and Usual are empty where there is none.
type factorRow struct {
	Label, Observed, Limit, Usual, Share string
	// Corroborates marks a second kind of evidence; Quiet what added next to nothing.
	Corroborates, Quiet bool
	share               float64
}

// share is what a factor adds to the score: as a text, and as a part of a bar 1,000 wide.
type share struct {
	Family, Text string
	X, Width     int64
}

// families are the factors in the order in which the score is told.
var families = []string{"rate", "content", "history"}

func shares(x *wire.OutboundExplanation) (list []share) {
	var at int64
	for _, f := range x.Factors {
		if !slices.Contains(families, f.Name) {
			continue
		}
		width := min(max(permille(f.Share), 0), 1000-at)
		list = append(list, share{Family: f.Name, Text: scoreText(f.Share), X: at, Width: width})
		at += width
	}
	return list
}

func permille(share float64) int64 { return int64(math.Round(share * 1000)) }

// factorRows tells each piece of evidence, that which adds most first.
func (p *page) factorRows(x *wire.OutboundExplanation) (rows []factorRow) {
	for _, e := range x.Evidence {
		if !knownEvidence(e.Name) {
			continue
		}
		row := factorRow{
			Label: p.evidenceName(e), Observed: p.amount(e.Unit, e.Raw), Share: scoreText(e.Share), Quiet: e.Share < 0.005,
			Corroborates: slices.Contains(x.Corroborators, e.Name), share: e.Share,
		}
		if e.Limit > 0 {
			row.Limit = p.amount(e.Unit, e.Limit)
		}
		if e.Usual > 0 {
			row.Usual = p.amount(e.Unit, e.Usual)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b factorRow) int { return cmp.Compare(b.share, a.share) })
	return rows
}

func knownEvidence(name string) bool {
	switch name {
	case "volume", "new", "spam", "campaign", "repeat", "invalid", "newlist", "persistence", "url", "malware", "place", "strikes", "hour":
		return true
	default:
		return false
	}
}

func (p *page) evidenceName(e wire.OutboundEvidence) string {
	name := p.T("outbound.evidence_of." + e.Name)
	if len(e.Countries) > 0 {
		return p.T("outbound.evidence_from", "what", name, "countries", p.countries(e.Countries))
	}
	if e.WindowSeconds > 0 && (e.Name == "volume" || e.Name == "new") {
		return p.T("outbound.evidence_in", "what", name, "window", p.window(e.WindowSeconds))
	}
	return name
}

// country names a country by its code; empty for none.
func (p *page) country(code string) string { return plain(admin.Country(code, p.Lang)) }

func (p *page) countries(codes []string) string {
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = p.country(code)
	}
	return strings.Join(names, " · ")
}

// window tells the length of a window.
func (p *page) window(seconds int64) string {
	switch {
	case seconds%86400 == 0 && seconds > 86400:
		return p.T("window.days", "n", seconds/86400)
	case seconds%3600 == 0:
		return p.T("window.hours", "n", seconds/3600)
	default:
		return p.T("window.minutes", "n", max(1, seconds/60))
	}
}

// amount tells a measured number in its unit.
func (p *page) amount(unit string, raw float64) string {
	switch unit {
	case "score":
		return fmt.Sprintf("%.1f", raw)
	case "share":
		return percent(raw)
	default:
		return p.Num(int64(math.Round(raw)))
	}
}

// percent tells a share of 1; below a tenth with one decimal.
func percent(share float64) string {
	decimals := 0
	if tenths := permille(share); tenths < 100 && tenths%10 != 0 {
		decimals = 1
	}
	return strconv.FormatFloat(share*100, 'f', decimals, 64) + " %"
}

// unknowns are what could not be judged. Nobody can know from the mail alone whether a password leaked.
func unknowns(x *wire.OutboundExplanation) []string {
	list := []string{"password"}
	if x == nil {
		return append(list, "content")
	}
	for _, word := range append(slices.Clone(x.Unknown), x.Degraded...) {
		switch word {
		case "place", "spam", "bounces", "new", "filter", "store":
			if !slices.Contains(list, word) {
				list = append(list, word)
			}
		}
	}
	if x.ColdStart {
		list = append(list, "cold")
	}
	return append(list, "content")
}
