package outbound

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/geoip"
)

// countriesEvery is how often the file of the database of countries is looked at.
const countriesEvery = 2 * time.Second

// placeOf is where a client is.
func (g *Gate) placeOf(a netip.Addr) policy.Place {
	p := policy.Place{Network: policy.NetworkOf(a)}
	f := g.countries.Load()
	if f == nil {
		return p
	}
	var err error
	result := lookupNone
	if p.Country, err = f.Country(a); err != nil {
		result = lookupError
	} else if p.Country != "" {
		result = lookupCountry
	}
	g.metrics.lookups.WithLabelValues(result).Inc()
	return p
}

// beginCountries reads the database of countries. One that can't be read is told, and does not stop the start: mail flows, and
// places are networks until it can.
func (g *Gate) beginCountries(path string) {
	if path == "" {
		return
	}
	f := geoip.Follow(path)
	g.countries.Store(f)
	g.tellCountries(f)
}

// countriesOf gives the database of a path: the one in use, or another, which must be readable. nil is none.
func (g *Gate) countriesOf(path string) (*geoip.File, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // none is what is wanted
	}
	if f := g.countries.Load(); f != nil && f.Path() == path {
		return f, nil
	}
	f := geoip.Follow(path)
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("outbound.geoip: %w", err)
	}
	g.tellCountries(f)
	return f, nil
}

// refreshCountries reads the database of countries again when its file is another one.
func (g *Gate) refreshCountries() {
	if f := g.countries.Load(); f != nil && f.Refresh() {
		g.tellCountries(f)
	}
}

// tellCountries logs and counts what came of reading a database.
func (g *Gate) tellCountries(f *geoip.File) {
	d := f.Database()
	if err := f.Err(); err != nil {
		g.metrics.reads.WithLabelValues("error").Inc()
		g.log.Error("outbound.geoip can't be read: "+withoutCountries(d), "path", f.Path(), "err", err)
		return
	}
	g.metrics.reads.WithLabelValues("ok").Inc()
	g.log.Info("database of countries read", "path", f.Path(), "type", d.Type, "built", d.Built, "size_bytes", d.SizeBytes)
}

// withoutCountries says what is done meanwhile; d is the database in use, nil for none.
func withoutCountries(d *geoip.Database) string {
	if d == nil {
		return "places are networks, no country is known"
	}
	return "the database of " + d.Built.Format(time.DateOnly) + " stays in use"
}

// checkCountries says what is wrong with the database of countries.
func (g *Gate) checkCountries() error {
	f := g.countries.Load()
	if f == nil {
		return nil
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("outbound.geoip: %w; %s", err, withoutCountries(f.Database()))
	}
	return nil
}

// countriesBuilt is when the database in use was made, in seconds since 1970; 0 without one.
func (g *Gate) countriesBuilt() float64 {
	if f := g.countries.Load(); f != nil && f.Database() != nil {
		return float64(f.Database().Built.Unix())
	}
	return 0
}
