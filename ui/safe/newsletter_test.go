package safe_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/japanese"

	"github.com/mairust/mairust/ui/safe"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// newsletters are bodies as mail has them; the golden file beside each is the page that the reader sees.
var newsletters = []newsletter{
	{file: "shop-ja.html", charset: "iso-2022-jp", options: safe.Options{Language: "ja"}},
	{file: "digest-en.html", options: safe.Options{Language: "en", Remote: true}},
	{file: "word-ja.html", options: safe.Options{Language: "ja", Inline: logoPart}},
	{file: "reply-chain.html", options: safe.Options{Language: "en"}},
	{file: "phishing-ja.html", options: safe.Options{Language: "ja"}},
}

type newsletter struct {
	file    string
	charset string // the file is UTF-8; it is sent through this charset and back
	options safe.Options
}

func (n newsletter) html(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "newsletter", n.file))
	require.NoError(t, err)
	if n.charset == "" {
		return b
	}
	sent, err := japanese.ISO2022JP.NewEncoder().Bytes(b)
	require.NoError(t, err)
	require.Contains(t, string(sent), "\x1b$B")
	read, err := io.ReadAll(japanese.ISO2022JP.NewDecoder().Reader(bytes.NewReader(sent)))
	require.NoError(t, err)
	return read
}

func logoPart(id string) (string, []byte, bool) {
	return "application/octet-stream", pixelPNG, id == "image001.png@01DA0000.ABCDEF00"
}

func TestNewslettersKeepTheirLook(t *testing.T) {
	for _, n := range newsletters {
		t.Run(n.file, func(t *testing.T) {
			page, _ := scrub(t, string(n.html(t)), n.options)
			golden := filepath.Join("testdata", "newsletter", n.file+".golden")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(page), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), page)
		})
	}
}

func TestNewsletterReports(t *testing.T) {
	want := map[string]safe.Report{
		"shop-ja.html":     {RemoteBlocked: 4, RemoteDropped: 4, Links: 5},
		"digest-en.html":   {RemoteDropped: 2, Links: 5},
		"word-ja.html":     {Images: 1, Links: 2},
		"reply-chain.html": {Links: 1},
		"phishing-ja.html": {RemoteBlocked: 1, Links: 5, DeceptiveLinks: 3},
	}
	for _, n := range newsletters {
		_, report := render(t, string(n.html(t)), n.options)
		require.Equal(t, want[n.file], report, n.file)
	}
}
