package geoip_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy/geoip"
	"github.com/mairust/mairust/policy/geoip/geoiptest"
)

var built = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

var countries = map[string]string{
	"198.51.100.0/24": "JP", "192.0.2.0/24": "NG", "2001:db8:1::/48": "JP",
	"10.0.0.0/8": "US", "127.0.0.0/8": "US", "100.64.0.0/10": "US", "169.254.0.0/16": "US", "fd00::/8": "US", "fe80::/10": "US",
	"203.0.113.0/25": "EU", "203.0.113.128/25": "ZZ", "198.18.0.0/24": "jp", "198.18.1.0/24": "A1",
}

func file(t testing.TB, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "country.mmdb")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	return path
}

func country(t testing.TB, d *geoip.Database, address string) string {
	t.Helper()
	code, err := d.Country(netip.MustParseAddr(address))
	require.NoError(t, err)
	return code
}

func TestDatabasesOfEveryMakerTellCountries(t *testing.T) {
	for _, maker := range []geoiptest.Maker{geoiptest.MaxMind, geoiptest.Registered, geoiptest.IPinfo, geoiptest.Plain} {
		t.Run(maker.Type, func(t *testing.T) {
			list := map[string]string{}
			for cidr, code := range countries {
				if maker.IPVersion == 6 || !strings.Contains(cidr, ":") {
					list[cidr] = code
				}
			}
			raw := maker.Bytes(t, built, list)
			d, err := geoip.Read(file(t, raw))
			require.NoError(t, err)
			require.Equal(t, maker.Type, d.Type)
			require.Equal(t, built, d.Built)
			require.EqualValues(t, len(raw), d.SizeBytes)

			require.Equal(t, "JP", country(t, d, "198.51.100.7"))
			require.Equal(t, "JP", country(t, d, "::ffff:198.51.100.7"), "an address of IPv4 in IPv6's clothes")
			require.Equal(t, "NG", country(t, d, "192.0.2.255"))
			v6 := map[int]string{4: "", 6: "JP"}[maker.IPVersion]
			require.Equal(t, v6, country(t, d, "2001:db8:1::25"))
			require.Empty(t, country(t, d, "192.0.3.0"), "unknown")
			require.Empty(t, country(t, d, "2001:db8:2::25"), "unknown")
			// MaxMind's tests give every network a registration, which counts where no country is told.
			if maker.Type != geoiptest.MaxMind.Type {
				for _, nowhere := range []string{"203.0.113.1", "203.0.113.129", "198.18.0.1", "198.18.1.1"} {
					require.Empty(t, country(t, d, nowhere), nowhere)
				}
			}
			for _, own := range []string{"10.1.2.3", "127.0.0.1", "100.64.0.9", "169.254.1.1", "fd00::1", "fe80::1", "::1", "::", "0.0.0.0", "224.0.0.1"} {
				require.Empty(t, country(t, d, own), own)
			}
			code, err := d.Country(netip.Addr{})
			require.NoError(t, err)
			require.Empty(t, code)
		})
	}
}

func TestACountryCountsBeforeTheRegistration(t *testing.T) {
	d, err := geoip.Read(file(t, geoiptest.MaxMind.Bytes(t, built, map[string]string{"192.0.2.0/24": "NG", "203.0.113.0/24": "ZZ"})))
	require.NoError(t, err)
	require.Equal(t, "NG", country(t, d, "192.0.2.1"))
	require.Equal(t, "US", country(t, d, "203.0.113.1"))
}

func TestWhatIsNoDatabaseOfCountriesIsSaidSo(t *testing.T) {
	whole := geoiptest.MaxMind.Bytes(t, built, countries)
	damaged := append([]byte(nil), whole...)
	clear(damaged[60:600])
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":       {nil, "invalid MaxMind DB file"},
		"garbage":       {[]byte(strings.Repeat("garbage", 1000)), "invalid MaxMind DB file"},
		"cut short":     {whole[:len(whole)*2/3], "invalid MaxMind DB file"},
		"its end alone": {whole[len(whole)*2/3:], "not a database of countries"},
		"a hole":        {damaged, "not a database of countries"},
		"no countries":  {geoiptest.ASN.Bytes(t, built, countries), `no record of this "GeoLite2-ASN" tells a country`},
		"no networks":   {geoiptest.MaxMind.Bytes(t, built, nil), "tells a country"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, c.raw)
			_, err := geoip.Read(path)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, path)
		})
	}
}

func TestFilesThatCannotBeReadAreNamed(t *testing.T) {
	dir := t.TempDir()
	_, err := geoip.Read(dir + "/missing.mmdb")
	require.ErrorContains(t, err, dir+"/missing.mmdb: no such file")
	_, err = geoip.Read(dir)
	require.ErrorContains(t, err, dir+" is not a regular file")
	require.NoError(t, syscall.Mkfifo(dir+"/pipe", 0o600))
	_, err = geoip.Read(dir + "/pipe")
	require.ErrorContains(t, err, "is not a regular file", "and nobody waits for a writer")
	large := file(t, nil)
	require.NoError(t, os.Truncate(large, geoip.MaxBytes+1))
	_, err = geoip.Read(large)
	require.ErrorContains(t, err, "536870913 bytes, more than 536870912")
}

func FuzzDatabase(f *testing.F) {
	for _, maker := range []geoiptest.Maker{geoiptest.MaxMind, geoiptest.IPinfo, geoiptest.Plain} {
		f.Add(maker.Bytes(f, built, map[string]string{"192.0.2.0/24": "NG"}), []byte{192, 0, 2, 1})
	}
	path := filepath.Join(f.TempDir(), "x.mmdb")
	f.Fuzz(func(t *testing.T, raw, address []byte) {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		d, err := geoip.Read(path)
		if err != nil {
			return
		}
		a, _ := netip.AddrFromSlice(address)
		code, err := d.Country(a)
		if err != nil {
			require.Empty(t, code)
		}
		if code != "" {
			require.Regexp(t, `^[A-Z]{2}$`, code)
		}
	})
}

func BenchmarkCountry(b *testing.B) {
	list := map[string]string{}
	codes := []string{"JP", "NG", "US", "DE"}
	for i := range 1 << 16 {
		list[netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i)}), 16).String()] = codes[i%len(codes)]
	}
	for _, maker := range []geoiptest.Maker{geoiptest.MaxMind, geoiptest.IPinfo} {
		d, err := geoip.Read(file(b, maker.Bytes(b, built, list)))
		require.NoError(b, err)
		b.Run(maker.Type, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				code, err := d.Country(netip.AddrFrom4([4]byte{byte(i>>8&0x0f | 0x50), byte(i), byte(i >> 3), 9}))
				if err != nil || code == "" {
					b.Fatal(code, err)
				}
			}
		})
	}
}
