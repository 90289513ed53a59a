package geoip_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy/geoip"
	"github.com/mairust/mairust/policy/geoip/geoiptest"
)

var somewhere = netip.MustParseAddr("192.0.2.1")

func (c counted) put(t testing.TB, code string) {
	t.Helper()
	geoiptest.MaxMind.Put(t, c.path, built, map[string]string{"192.0.2.0/24": code})
}

// counted is a file that counts what news it had.
type counted struct {
	*geoip.File
	path string
}

func (c counted) code(t testing.TB) string {
	t.Helper()
	code, err := c.Country(somewhere)
	require.NoError(t, err)
	return code
}

func follow(t testing.TB) counted {
	t.Helper()
	path := filepath.Join(t.TempDir(), "country.mmdb")
	c := counted{path: path}
	c.put(t, "JP")
	c.File = geoip.Follow(path)
	require.NoError(t, c.Err())
	require.Equal(t, "JP", c.code(t))
	require.False(t, c.Refresh(), "no news")
	return c
}

func TestAReplacedFileIsRead(t *testing.T) {
	c := follow(t)
	c.put(t, "NG")
	require.Equal(t, "JP", c.code(t), "not before it is looked at")
	require.True(t, c.Refresh())
	require.Equal(t, "NG", c.code(t))
	require.False(t, c.Refresh())
}

func TestAFileThatIsWrittenOverIsRead(t *testing.T) {
	c := follow(t)
	raw := geoiptest.IPinfo.Bytes(t, built, map[string]string{"192.0.2.0/24": "NG"})
	require.NoError(t, os.WriteFile(c.path, raw[:len(raw)/2], 0o600)) // as cp does, which is not done yet
	require.True(t, c.Refresh())
	require.ErrorContains(t, c.Err(), "not a database of countries")
	require.Equal(t, "JP", c.code(t), "the one in use is in memory")
	require.NoError(t, os.WriteFile(c.path, raw, 0o600))
	require.True(t, c.Refresh())
	require.NoError(t, c.Err())
	require.Equal(t, "NG", c.code(t))
	require.Equal(t, "ipinfo lite", c.Database().Type)
}

func TestABrokenFileLeavesTheOldDatabaseInUseAndIsNewsOnce(t *testing.T) {
	c := follow(t)
	require.NoError(t, os.WriteFile(c.path+".new", []byte("<html>quota exceeded</html>"), 0o600))
	require.NoError(t, os.Rename(c.path+".new", c.path))
	require.True(t, c.Refresh())
	for range 3 {
		require.False(t, c.Refresh())
		require.ErrorContains(t, c.Err(), "invalid MaxMind DB file")
		require.Equal(t, "JP", c.code(t))
	}
	require.NoError(t, os.Remove(c.path))
	require.True(t, c.Refresh())
	require.ErrorContains(t, c.Err(), "no such file")
	require.False(t, c.Refresh())
	require.Equal(t, "JP", c.code(t))
	c.put(t, "NG")
	require.True(t, c.Refresh())
	require.NoError(t, c.Err())
	require.Equal(t, "NG", c.code(t))
}

func TestAFileThatComesLaterIsRead(t *testing.T) {
	c := counted{path: filepath.Join(t.TempDir(), "country.mmdb")}
	c.File = geoip.Follow(c.path)
	require.Error(t, c.Err())
	require.Nil(t, c.Database())
	require.Empty(t, c.code(t))
	c.put(t, "JP")
	require.True(t, c.Refresh())
	require.NoError(t, c.Err())
	require.Equal(t, "JP", c.code(t))
}

func TestCountriesAreToldWhileTheFileIsReplaced(t *testing.T) {
	c := follow(t)
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				code, err := c.Country(somewhere)
				if err != nil || code != "JP" && code != "NG" {
					t.Error(code, err)
					return
				}
			}
		})
	}
	for range 20 {
		c.put(t, "NG")
		require.True(t, c.Refresh())
		require.NoError(t, os.Truncate(c.path, 0)) // would kill a process that has it mapped
		require.True(t, c.Refresh())
		c.put(t, "JP")
		require.True(t, c.Refresh())
	}
	close(done)
	group.Wait()
}
