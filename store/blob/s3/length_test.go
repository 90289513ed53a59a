package s3_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/s3"
)

// withoutLength is a proxy that sends answers on in chunks.
func withoutLength(methods ...string) lab.Fault {
	return lab.Fault{
		Only: func(r *http.Request) bool { return slices.Contains(methods, r.Method) },
		After: func(r *http.Response) {
			r.Header.Del("Content-Length")
			if r.Request.Method == http.MethodGet {
				r.Header.Set("Transfer-Encoding", "chunked") // also for nothing
			}
		},
	}
}

// An answer that does not say how long it is says nothing of the object: it is an outage, not a damaged message.
func TestAnswerWithoutALengthIsNoEmptyObject(t *testing.T) {
	for name, f := range map[string]lab.Fault{
		"GET": withoutLength(http.MethodGet), "HEAD": withoutLength(http.MethodHead), "both": withoutLength(http.MethodGet, http.MethodHead),
	} {
		t.Run(name, func(t *testing.T) {
			b, direct, p := behindProxy(t, nil)
			for key, size := range map[string]int{"empty": 0, "small": 5000, "large": 3 << 20} {
				putBytes(t, direct, key, content(size))
				p.Set(f)
				if name != "GET" {
					_, err := b.Stat(t.Context(), key)
					requireOutage(t, err)
				}
				if name != "HEAD" {
					_, err := get(t, b, key)
					requireOutage(t, err)
				}
				p.Set(lab.Fault{})
				got, err := get(t, b, key)
				require.NoError(t, err)
				require.Len(t, got, size)
			}
			p.Set(f)
			require.True(t, slices.ContainsFunc(b.Prove(t.Context()), func(p s3.Proof) bool { return p.Err != nil }))
		})
	}
}

// requireOutage wants an error that says nothing of the object.
func requireOutage(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotErrorIs(t, err, blob.ErrDamaged)
	require.NotErrorIs(t, err, blob.ErrNotFound)
}
