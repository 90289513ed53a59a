package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/s3"
)

// page answers as a web server in the place of S3: a proxy with a page for bad days, or a name that leads elsewhere.
func page(header map[string]string, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			http.ServeContent(w, r, "index.html", time.Now().Add(-time.Hour), strings.NewReader(body))
		} else {
			_, _ = io.WriteString(w, body)
		}
		return true
	}
}

var (
	etag   = map[string]string{"ETag": `"65f0c1d2-264"`}
	likeS3 = map[string]string{"ETag": `"d41d8cd98f00b204e9800998ecf8427e"`, "X-Amz-Request-Id": "17A0B1C2D3E4F506"}
	// pages are what they may answer.
	pages = map[string]func(http.ResponseWriter, *http.Request) bool{
		"nothing": page(nil, ""), "a page": page(nil, "<html/>"), "a static page": page(etag, "<html/>"), "no checksum": page(likeS3, ""),
	}
)

func isPutOfMessage(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".eml")
}

// silent makes a server one that does not say what checksum it has stored.
func silent(f lab.Fault) lab.Fault {
	befalls := f.Only
	before := f.Before
	f.Only = nil
	f.Before = func(w http.ResponseWriter, r *http.Request) bool {
		return before != nil && befalls(r) && before(w, r)
	}
	f.After = func(r *http.Response) { r.Header.Del("X-Amz-Checksum-Crc32") }
	return f
}

// TestPutIsNoSuccessWhenAWebServerAnswersIt is about servers that say what they have stored and servers that do not.
func TestPutIsNoSuccessWhenAWebServerAnswersIt(t *testing.T) {
	all := func(*http.Request) bool { return true }
	for name, answer := range pages {
		for which, only := range map[string]func(*http.Request) bool{"puts of messages": isPutOfMessage, "everything": all} {
			for kind, as := range map[string]func(lab.Fault) lab.Fault{"echoes": func(f lab.Fault) lab.Fault { return f }, "silent": silent} {
				t.Run(kind+"/"+which+"/"+name, func(t *testing.T) {
					o, direct, p := proxied(t)
					b := open(t, o)
					p.Set(as(lab.Fault{Only: func(*http.Request) bool { return false }}))
					put(t, b, "t/m/1.eml", "a good one")
					p.Set(as(lab.Fault{Only: only, Before: answer}))
					err := b.Put(t.Context(), "t/m/2.eml", strings.NewReader("hello"), 5)
					require.Error(t, err)
					require.NotErrorIs(t, err, blob.ErrNotFound)
					require.Error(t, b.PutAll(t.Context(), []string{"t/m/3.eml", "t/m/4.eml"}, strings.NewReader("hello"), 5))
					require.Error(t, b.Replace(t.Context(), "t/m/1.eml", strings.NewReader("another"), 7))
					for _, key := range []string{"t/m/2.eml", "t/m/3.eml", "t/m/4.eml"} {
						_, err = direct.Stat(t.Context(), key)
						require.ErrorIs(t, err, blob.ErrNotFound)
					}
					p.Set(as(lab.Fault{Only: func(*http.Request) bool { return false }}))
					put(t, b, "t/m/2.eml", "hello")
					got, err := get(t, direct, "t/m/2.eml")
					require.NoError(t, err)
					require.Equal(t, "hello", string(got))
				})
			}
		}
	}
}

// A put whose answer came from elsewhere, and which the server has done, is done.
func TestPutIsDoneThoughItsAnswerSaysNothing(t *testing.T) {
	b, direct, p := behindProxy(t, nil)
	p.Set(silent(lab.Fault{})) // it has said it until now, as one of several gateways may
	for _, size := range []int{0, 5000} {
		key := "size." + string(rune('a'+size%26))
		data := content(size)
		putBytes(t, b, key, data)
		require.ErrorIs(t, b.Put(t.Context(), key, bytes.NewReader(data), int64(size)), blob.ErrExists)
		got, err := get(t, direct, key)
		require.NoError(t, err)
		require.Equal(t, data, got)
	}
}

// What a page answers to the first question must not be taken for what the server can do.
func TestAWebServerIsNotAskedWhatTheServerCanDo(t *testing.T) {
	for name, answer := range pages {
		t.Run(name, func(t *testing.T) {
			o, _, p := proxied(t)
			b := open(t, o)
			p.Set(lab.Fault{Before: answer})
			require.Error(t, b.Check(t.Context()))
			require.Error(t, b.Put(t.Context(), "a", strings.NewReader("hello"), 5))
			p.Set(lab.Fault{})
			require.Eventually(t, func() bool { return b.Check(t.Context()) == nil }, 10*time.Second, 100*time.Millisecond)
			p.Set(lab.Fault{})
			put(t, b, "a", "hello")
			require.Equal(t, 1, p.Hits())

			p.Set(lab.Fault{Before: answer})
			require.Error(t, b.Check(t.Context()), "an alert tells of it")
		})
	}
}

func TestAGoodServerIsAskedOnceForAMessage(t *testing.T) {
	o, _, p := proxied(t)
	b := open(t, o)
	require.NoError(t, b.Check(t.Context()))
	for _, size := range []int{0, 5000, 8 << 20} {
		p.Set(lab.Fault{})
		putBytes(t, b, "size."+string(rune('a'+size%26)), content(size))
		require.Equal(t, 1, p.Hits(), "size %d", size)
	}
	o.Checksums = s3.ChecksumsOff
	off := open(t, o)
	require.NoError(t, off.Check(t.Context()))
	p.Set(lab.Fault{})
	put(t, off, "off", "hello")
	require.Equal(t, 2, p.Hits(), "without checksums it is looked up")
}

func TestDigestsThatAWebServerTookAreNotStored(t *testing.T) {
	for name, answer := range pages {
		t.Run(name, func(t *testing.T) {
			b, direct, p := behindProxy(t, nil)
			p.Set(lab.Fault{Before: answer, Only: func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/.sums/")
			}})
			data := content(41 << 20)
			require.ErrorContains(t, b.Put(t.Context(), "a", bytes.NewReader(data), int64(len(data))), "put digests")
			_, err := direct.Stat(t.Context(), "a")
			require.ErrorIs(t, err, blob.ErrNotFound)
		})
	}
}

func TestServerThatNamesNoChecksumIsToldOf(t *testing.T) {
	o, _, p := proxied(t)
	p.Set(silent(lab.Fault{}))
	lacks, failed := prove(t, open(t, o))
	require.Equal(t, []string{"checksums"}, lacks)
	require.Empty(t, failed)
}
