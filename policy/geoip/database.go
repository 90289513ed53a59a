// Package geoip tells which country an address is in, by a database in MaxMind's format (MMDB): those of MaxMind, DB-IP, IPinfo,
// IP2Location, and others that are made like them.
package geoip

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// MaxBytes is how large a database may be. One of countries has about 10 MB, one of cities 60 to 130.
const MaxBytes = 512 << 20

// errChanging says that a file was written to while it was read.
var errChanging = errors.New("the file changed while it was read")

// errDamaged says that a file could be read and is not a database that tells countries.
var errDamaged = errors.New("not a database of countries")

// Database is one database, whole in memory: what becomes of its file has no effect on it. Calls may run at once.
type Database struct {
	reader *maxminddb.Reader
	layout layout
	// Type is the maker's name for what is in it, as "GeoLite2-Country".
	Type string
	// Built is when it was made, by its own word.
	Built time.Time
	// SizeBytes is what it takes in memory.
	SizeBytes int64
}

// Read reads the database of a path into memory and tries it. It is not mapped, because a process dies of SIGBUS when a mapped
// file is cut short. Errors name the path.
func Read(path string) (*Database, error) {
	d, _, err := read(path)
	return d, err
}

// read gives the state of the file as well, with an error that wraps errDamaged too: the same file need not be tried again.
func read(path string) (*Database, os.FileInfo, error) {
	// A pipe would let Open wait for ever.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	before, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if before.Size() > MaxBytes {
		return nil, before, fmt.Errorf("%s: %w: %d bytes, more than %d", path, errDamaged, before.Size(), MaxBytes)
	}
	raw := make([]byte, before.Size())
	_, err = io.ReadFull(f, raw)
	switch after, statErr := f.Stat(); {
	case statErr == nil && !same(before, after):
		return nil, nil, fmt.Errorf("%s: %w", path, errChanging)
	case err != nil:
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	d, err := parse(raw)
	if err != nil {
		return nil, before, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	return d, before, nil
}

// same tells whether a file has been left as it was.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// parse opens and tries a database.
func parse(raw []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, err
	}
	d := &Database{reader: reader, Type: reader.Metadata.DatabaseType, Built: reader.Metadata.BuildTime().UTC(), SizeBytes: int64(len(raw))}
	if d.layout, err = layoutOf(reader); err != nil {
		return nil, err
	}
	return d, d.sample()
}

// samples are how many addresses of each family are tried, evenly spread: a file with a hole is found out in milliseconds.
const samples = 1 << 12

// sample looks addresses up, for the error that a damaged part gives.
func (d *Database) sample() error {
	for i := range uint32(samples) {
		v4 := netip.AddrFrom4([4]byte{byte(i >> 4), byte(i<<4 | 7), 1, 1})
		v6 := netip.AddrFrom16([16]byte{0x20 | byte(i>>7), byte(i << 1), 7}) // in 2000::/3
		for _, a := range []netip.Addr{v4, v6} {
			if _, err := d.Country(a); err != nil {
				return fmt.Errorf("damaged at %s: %w", a, err)
			}
		}
	}
	return nil
}

// shared is the address space of carriers behind NAT (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// Country is the ISO 3166 code of the country that an address is in, two upper-case letters. It is empty for an address that is
// private, loopback, link-local or otherwise of no country, and for one that the database does not know. The error is that of a
// damaged database.
func (d *Database) Country(a netip.Addr) (string, error) {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || shared.Contains(a) || a.Is6() && d.reader.Metadata.IPVersion == 4 {
		return "", nil
	}
	return d.layout.country(d.reader.Lookup(a))
}

// layout is where the records of a database have the code of their country: the first path that leads to one counts.
type layout [][]any

// layouts are those in use. MaxMind's, DB-IP's and IP2Location's have a country, and MaxMind's for some networks only the one they
// are registered in. IPinfo's have a name and a code beside it, older ones of theirs only the code under "country".
var layouts = []layout{
	{{"country", "iso_code"}, {"registered_country", "iso_code"}},
	{{"country_code"}},
	{{"country"}},
}

// country reads the code from a record; empty when there is none.
func (l layout) country(r maxminddb.Result) (string, error) {
	for _, path := range l {
		var code string
		if err := r.DecodePath(&code, path...); err != nil {
			return "", err
		}
		if isCountry(code) {
			return code, nil
		}
	}
	return "", nil
}

// nowhere are codes that mean no country: unknown, and regions that registries use.
var nowhere = []string{"ZZ", "XX", "EU", "AP"}

func isCountry(code string) bool {
	return len(code) == 2 && code[0] >= 'A' && code[0] <= 'Z' && code[1] >= 'A' && code[1] <= 'Z' && !slices.Contains(nowhere, code)
}

// looked bounds the networks that are looked at for a country: a tree in bad faith has no end.
const looked = 1 << 14

// layoutOf finds out how the records of a database are made, by the first that tells a country.
func layoutOf(r *maxminddb.Reader) (layout, error) {
	seen := 0
	// Those without data count too, or the search for one that has some is without bound.
	for result := range r.Networks(maxminddb.IncludeNetworksWithoutData(), maxminddb.IncludeAliasedNetworks()) {
		if err := result.Err(); err != nil {
			return nil, err
		}
		for _, l := range layouts {
			// A record of another layout gives an error.
			if code, err := l.country(result); err == nil && code != "" {
				return l, nil
			}
		}
		if seen++; seen == looked {
			break
		}
	}
	return nil, fmt.Errorf("no record of this %q tells a country", r.Metadata.DatabaseType)
}
