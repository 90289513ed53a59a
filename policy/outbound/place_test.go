package outbound_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/geoip/geoiptest"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// The office has two networks in one country.
const (
	officeOne = "198.51.100.7"
	officeTwo = "203.0.113.7"
	elsewhere = "192.0.2.7"
)

var (
	world   = map[string]string{"198.51.100.0/24": "JP", "203.0.113.0/24": "JP", "192.0.2.0/24": "NG", "10.0.0.0/8": "US"}
	builtAt = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
)

// clock is one that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// place is the evidence of the place of a message that is tried, and where it came from.
func (n *node) place(client string) (policy.Evidence, *policy.Explanation) {
	n.t.Helper()
	m := trial(n.t, "hello", "suzuki@x.test")
	m.Client = envelope("", client).Client
	d := n.Try(context.Background(), store.SystemTenant, "tanaka@one.test", m, mail.Verdict{})
	require.NotNil(n.t, d.Explanation)
	for _, e := range d.Explanation.Evidence {
		if e.Name == "place" {
			return e, d.Explanation
		}
	}
	return policy.Evidence{}, d.Explanation
}

// complaint is what health says of the database of countries.
func (n *node) complaint() string {
	if err := n.Check(context.Background()); err != nil && strings.Contains(err.Error(), "outbound.geoip") {
		return err.Error()
	}
	return ""
}

// work sends a message an hour for ten days from a network.
func (n *node) work(c *clock, client string) {
	n.t.Helper()
	for range 10 {
		for range 6 {
			require.Equal(n.t, 1, n.send(envelope("tanaka@one.test", client), "hello", 0, "suzuki@x.test").left())
			c.at = c.at.Add(time.Hour)
		}
		c.at = c.at.Add(18 * time.Hour)
	}
}

func TestAnotherNetworkOfTheCountryIsFamiliarAndAnotherCountryIsNot(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		path := filepath.Join(t.TempDir(), "country.mmdb")
		geoiptest.MaxMind.Put(t, path, builtAt, world)
		c := &clock{at: time.Now().Add(-20 * 24 * time.Hour)}
		n := start(t, setup{options: enforce, own: outbound.Options{GeoIP: path}, db: db, now: c.now})
		require.Empty(t, n.complaint())
		require.EqualValues(t, builtAt.Unix(), n.metric("mairust_outbound_geoip_built_timestamp_seconds"))
		n.work(c, officeOne)

		e, x := n.place(officeOne)
		require.Zero(t, e.Value)
		require.Equal(t, "JP", x.Country)
		same, x := n.place(officeTwo)
		require.Equal(t, "JP", x.Country)
		require.Equal(t, "network", same.Kind)
		other, x := n.place(elsewhere)
		require.Equal(t, "NG", x.Country)
		require.Equal(t, "country", other.Kind)
		require.Equal(t, []string{"NG"}, other.Countries)
		require.Less(t, same.Value, other.Value)
		for _, own := range []string{"10.1.2.3", "127.0.0.1", "fe80::1"} {
			_, x = n.place(own)
			require.Empty(t, x.Country, own)
		}

		// The record has the country, so that replay needs no database.
		require.Equal(t, 1, n.send(envelope("tanaka@one.test", elsewhere), "hello", 0, "suzuki@x.test").left())
		var events []policy.Record
		eventually(t, "the decision is written", func() bool {
			list, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 1})
			require.NoError(t, err)
			if len(list) == 0 || list[0].Client != elsewhere {
				return false
			}
			require.Contains(t, list[0].Explanation, `"country":"NG"`)
			events, err = policy.ParseRecords(list[0].Event)
			require.NoError(t, err)
			return true
		})
		require.Len(t, events, 3)
		for _, r := range events {
			require.Equal(t, "NG", r.Event.Place.Country)
		}
		require.Contains(t, n.log.String(), "country=NG")
	})
}

func TestTheFileMayBeReplacedBrokenAndMendedWhileMailFlows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "country.mmdb")
	geoiptest.MaxMind.Put(t, path, builtAt, world)
	n := start(t, setup{options: enforce, own: outbound.Options{GeoIP: path}})
	country := func(want string) func() bool {
		return func() bool { _, x := n.place(elsewhere); return x.Country == want }
	}
	require.True(t, country("NG")())
	later := builtAt.AddDate(0, 0, 7)
	geoiptest.IPinfo.Put(t, path, later, map[string]string{"192.0.2.0/24": "BR"})
	eventually(t, "the new file is read", country("BR"))
	require.EqualValues(t, later.Unix(), n.metric("mairust_outbound_geoip_built_timestamp_seconds"))

	require.NoError(t, os.WriteFile(path, []byte("not today"), 0o600))
	eventually(t, "the broken file is told", func() bool { return n.complaint() != "" })
	require.Contains(t, n.complaint(), "outbound.geoip: "+path+": not a database of countries")
	require.Contains(t, n.complaint(), "the database of 2026-11-27 stays in use")
	require.True(t, country("BR")())
	require.Equal(t, 1, n.send(envelope("tanaka@one.test", elsewhere), "hello", 0, "suzuki@x.test").left())

	geoiptest.MaxMind.Put(t, path, later, world)
	eventually(t, "it is mended", country("NG"))
	require.Empty(t, n.complaint())
	require.Equal(t, 1, strings.Count(n.log.String(), "outbound.geoip can't be read"), "told once")
	require.EqualValues(t, 4, n.metric("mairust_outbound_geoip_reads_total"))
}

func TestMailFlowsWithoutTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "country.mmdb")
	n := start(t, setup{options: enforce, own: outbound.Options{GeoIP: path}})
	require.Contains(t, n.log.String(), "no country is known")
	require.Contains(t, n.complaint(), "outbound.geoip: open "+path+": no such file")
	require.Equal(t, 1, n.send(envelope("tanaka@one.test", elsewhere), "hello", 0, "suzuki@x.test").left())
	require.NoError(t, n.Configure(enforce, outbound.Options{GeoIP: path, TrustedNetworks: []string{"10.0.0.0/8"}}, nil), "other settings may change")
	geoiptest.MaxMind.Put(t, path, builtAt, world)
	eventually(t, "it is found", func() bool { _, x := n.place(elsewhere); return x.Country == "NG" })
	require.Empty(t, n.complaint())
}

func TestADatabaseOfCountriesComesAndGoesWithTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	geoiptest.MaxMind.Put(t, dir+"/a.mmdb", builtAt, world)
	geoiptest.MaxMind.Put(t, dir+"/b.mmdb", builtAt, map[string]string{"192.0.2.0/24": "BR"})
	n := start(t, setup{options: enforce})
	country := func() string { _, x := n.place(elsewhere); return x.Country }
	require.Empty(t, country())
	for _, c := range []struct{ file, want string }{{"/a.mmdb", "NG"}, {"/b.mmdb", "BR"}, {"/b.mmdb", "BR"}} {
		require.NoError(t, n.Configure(enforce, outbound.Options{GeoIP: dir + c.file}, nil))
		require.Equal(t, c.want, country())
	}
	err := n.Configure(policy.Options{Mode: policy.Off}, outbound.Options{GeoIP: dir + "/c.mmdb"}, nil)
	require.ErrorContains(t, err, "outbound.geoip: open "+dir+"/c.mmdb: no such file")
	require.Equal(t, policy.Enforce, n.Mode(), "nothing has changed")
	require.Equal(t, "BR", country())
	require.NoError(t, n.Configure(enforce, outbound.Options{}, nil))
	require.Empty(t, country())
	require.Zero(t, n.metric("mairust_outbound_geoip_built_timestamp_seconds"))
}
