// Package geoiptest makes databases of countries for tests.
package geoiptest

import (
	"bytes"
	"net"
	"os"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/stretchr/testify/require"
)

// Maker is whose databases one is like.
type Maker struct {
	// Type is the name that the database gives itself.
	Type string
	// IPVersion is 4 or 6.
	IPVersion int
	// record makes the record of a country.
	record func(code string) mmdbtype.Map
}

// The makers.
var (
	// MaxMind is GeoLite2 Country; DB-IP and IP2Location are made like it.
	MaxMind = Maker{"GeoLite2-Country", 6, func(code string) mmdbtype.Map {
		return mmdbtype.Map{
			"continent":          mmdbtype.Map{"code": mmdbtype.String("EU")},
			"country":            countryMap(code),
			"registered_country": countryMap("US"),
		}
	}}
	// Registered has networks of which only the registration is known.
	Registered = Maker{"GeoLite2-City", 6, func(code string) mmdbtype.Map {
		return mmdbtype.Map{"registered_country": countryMap(code)}
	}}
	// IPinfo is IPinfo Lite, with the name of the country where others have its code.
	IPinfo = Maker{"ipinfo lite", 6, func(code string) mmdbtype.Map {
		return mmdbtype.Map{
			"asn": mmdbtype.String("AS64500"), "continent_code": mmdbtype.String("EU"),
			"country": mmdbtype.String("Country of " + code), "country_code": mmdbtype.String(code),
		}
	}}
	// Plain has the code as text, and no addresses of IPv6.
	Plain = Maker{"country_asn", 4, func(code string) mmdbtype.Map {
		return mmdbtype.Map{"continent": mmdbtype.String("EU"), "country": mmdbtype.String(code)}
	}}
	// ASN tells no countries.
	ASN = Maker{"GeoLite2-ASN", 6, func(string) mmdbtype.Map {
		return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}
	}}
)

func countryMap(code string) mmdbtype.Map {
	return mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String("Country of " + code)}}
}

// Bytes is a database of networks (CIDR) and the code of the country of each, built at a time.
func (m Maker) Bytes(t testing.TB, built time.Time, countries map[string]string) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: m.Type, IPVersion: m.IPVersion, BuildEpoch: built.Unix(), RecordSize: 24, IncludeReservedNetworks: true,
		Description: map[string]string{"en": "made by a test"},
	})
	require.NoError(t, err)
	for cidr, code := range countries {
		_, network, err := net.ParseCIDR(cidr)
		require.NoError(t, err)
		require.NoError(t, tree.Insert(network, m.record(code)))
	}
	var out bytes.Buffer
	_, err = tree.WriteTo(&out)
	require.NoError(t, err)
	return out.Bytes()
}

// Put puts a database where path is, as those who update databases do: under another name first.
func (m Maker) Put(t testing.TB, path string, built time.Time, countries map[string]string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", m.Bytes(t, built, countries), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}
