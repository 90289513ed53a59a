package ui

import (
	"slices"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/store"
)

// plot is a picture of an account's sending over time, and the table that says the same. A script draws the picture
// from the table; without scripts the table is shown.
type plot struct {
	// From and To bound it; Step is the width of a column.
	From, To time.Time
	Step     time.Duration
	// Limit and Usual are recipients an hour: the plain limit and the account's own peak; 0 for none.
	Limit, Usual int64
	// Rows are the columns in which something happened, oldest first.
	Rows []plotRow
	// Summary says what the picture shows; Zone is the time zone of its axis.
	Summary, Zone     string
	HasNew, HasPlaces bool
}

// plotRow is one column. Sent counts recipients; Deferred and Refused count attempts.
type plotRow struct {
	At                           time.Time
	Sent, Deferred, Refused, New int64
	// Places are addresses of the sender, each once.
	Places []string
	Events []plotEvent
}

// AtMS is for the script.
func (r plotRow) AtMS() int64 { return r.At.UnixMilli() }

// plotEvent is something that happened at a time: stop, limit or release.
type plotEvent struct{ Kind string }

// plotPlaces is how many different places are told apart.
const plotPlaces = 8

// newPlot prepares a series.
func (p *page) newPlot(w wire.OutboundSeries) *plot {
	v := &plot{From: w.From, To: w.To, Step: time.Duration(w.StepSeconds) * time.Second, Zone: p.zone.String()}
	var sent, deferred, refused int64
	for _, c := range w.Columns {
		if r := v.row(c.At); r != nil {
			r.Sent, r.Deferred, r.Refused, r.New = c.Recipients, c.Limited, c.Stopped, c.NewRecipients
			sent, deferred, refused, v.HasNew = sent+c.Recipients, deferred+c.Limited, refused+c.Stopped, true
		}
	}
	v.Summary = p.T("plot.summary", "from", p.Time(v.From).Text, "to", p.Time(v.To).Text, "sent", p.Num(sent),
		"deferred", p.Num(deferred), "refused", p.Num(refused))
	return v
}

// FromMS, StepSeconds and Columns are for the script.
func (v *plot) FromMS() int64 { return v.From.UnixMilli() }

// StepSeconds is the width of a column.
func (v *plot) StepSeconds() int64 { return int64(v.Step.Seconds()) }

// StepMinutes is the width of a column, for people.
func (v *plot) StepMinutes() int64 { return int64(v.Step.Minutes()) }

// Columns counts those with nothing in them, too.
func (v *plot) Columns() int64 { return int64((v.To.Sub(v.From) + v.Step - 1) / v.Step) }

// LimitPerColumn is the pace of the limit.
func (v *plot) LimitPerColumn() float64 { return v.perColumn(v.Limit) }

// UsualPerColumn is the pace of the account's own peak.
func (v *plot) UsualPerColumn() float64 { return v.perColumn(v.Usual) }

func (v *plot) perColumn(perHour int64) float64 { return float64(perHour) * v.Step.Hours() }

// row is the column of a time, made if it is not there; nil outside the plot.
func (v *plot) row(at time.Time) *plotRow {
	if at.Before(v.From) || !at.Before(v.To) {
		return nil
	}
	at = v.From.Add(at.Sub(v.From).Truncate(v.Step))
	i, found := slices.BinarySearchFunc(v.Rows, at, func(r plotRow, t time.Time) int { return r.At.Compare(t) })
	if !found {
		v.Rows = slices.Insert(v.Rows, i, plotRow{At: at})
	}
	return &v.Rows[i]
}

// addPlaces notes where the account sent from: each address in the columns of its first and last time.
func (v *plot) addPlaces(places []wire.OutboundPlace) {
	for _, place := range places[:min(len(places), plotPlaces)] {
		for _, at := range []time.Time{place.First, place.Last} {
			r := v.row(at)
			if name := plain(place.Client); r != nil && !slices.Contains(r.Places, name) {
				r.Places = append(r.Places, name)
				v.HasPlaces = true
			}
		}
	}
}

// addEvents notes the changes of level, from the history of the account.
func (v *plot) addEvents(history []wire.OutboundEvent) {
	for _, e := range history {
		kind := map[string]string{store.LevelHardLimit: "stop", store.LevelSoftLimit: "limit", store.LevelNormal: "release"}[e.LevelAfter]
		switch {
		case e.LevelBefore == e.LevelAfter || kind == "" || e.LevelBefore == "" && kind == "release":
			continue
		case e.LevelBefore == store.LevelHardLimit:
			kind = "release"
		}
		if r := v.row(e.At); r != nil {
			r.Events = append(r.Events, plotEvent{Kind: kind})
		}
	}
}
