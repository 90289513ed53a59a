package safe_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/ui/safe"
)

// pixelPNG is a PNG of one pixel.
var pixelPNG = mustDecode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

func mustDecode(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func padded(n int) []byte { return append(bytes.Clone(pixelPNG), make([]byte, n-len(pixelPNG))...) }

func TestInlineImages(t *testing.T) {
	parts := map[string][]byte{
		"a@b": pixelPNG, "gif": []byte("GIF89a\x01\x00\x01\x00"), "svg": []byte("<svg onload=alert(1)>"), "html": []byte("<script>alert(1)</script>"),
		"most": padded(2 << 20), "more": padded(2<<20 + 1), "bmp": []byte("BM123456789012345678901234567890"),
	}
	var asked []string
	o := safe.Options{Inline: func(id string) (string, []byte, bool) {
		asked = append(asked, id)
		data, ok := parts[id]
		return "image/png", data, ok
	}}
	for id, shown := range map[string]string{
		"cid:a@b": "image/png", "CID:a%40b": "image/png", " cid:<a@b>": "image/png", "cid:gif": "image/gif", "cid:most": "image/png",
		"cid:svg": "", "cid:html": "", "cid:more": "", "cid:bmp": "", "cid:none": "", "cid:": "",
	} {
		page, report := scrub(t, `<img src="`+id+`" alt="picture" width=10>`, o)
		if shown == "" {
			require.Contains(t, body(page), `<img title="picture" class="mairust-blocked" alt="picture" width="10">`, id)
			require.Zero(t, report.Images)
		} else {
			require.Contains(t, body(page), `<img src="data:`+shown+`;base64,`, id)
			require.Equal(t, 1, report.Images)
		}
		require.Zero(t, report.RemoteBlocked)
	}
	require.Contains(t, asked, "a@b")
}

func TestInlineImagesAreBoundedInAll(t *testing.T) {
	big := padded(2 << 20)
	o := safe.Options{Inline: func(string) (string, []byte, bool) { return "", big, true }}
	page, report := render(t, strings.Repeat("<img src=cid:x>", 100), o)
	require.Equal(t, 5, report.Images)
	require.True(t, report.Truncated)
	require.Less(t, len(page), 15<<20)
}

func TestDataImages(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(pixelPNG)
	for src, shown := range map[string]bool{
		"data:image/png;base64," + good:                            true,
		"data:image/jpeg;base64," + good:                           true,
		"DATA:IMAGE/PNG;BASE64," + good:                            true,
		"data:image/png;base64,\n " + good[:20] + "\n" + good[20:]: true,
		"data:image/png," + good:                                   false,
		"data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte("<svg onload=x>")): false,
		"data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte("<svg onload=x>")):     false,
		"data:text/html;base64,PHNjcmlwdD4=":                                                       false,
		"data:image/png;base64,%%%":                                                                false,
	} {
		_, report := scrub(t, `<img src="`+src+`">`, safe.Options{})
		require.Equal(t, shown, report.Images == 1, src)
	}
}

func TestRemoteImages(t *testing.T) {
	const in = `<img src="http://a.example/x.png?a=1&b=2"><img src=//b.example/y.gif width=1 height=1><img src="https:\\c.example\z"><img src=rel.png>`
	page, report := scrub(t, in, safe.Options{})
	require.Equal(t, 3, report.RemoteBlocked)
	require.NotContains(t, page, ".example")
	page, report = scrub(t, in, safe.Options{Remote: true})
	require.Zero(t, report.RemoteBlocked)
	for _, src := range []string{"http://a.example/x.png?a=1&amp;b=2", "https://b.example/y.gif", "https://c.example/z"} {
		require.Contains(t, body(page), fmt.Sprintf(`src="%s"`, src))
	}
}
