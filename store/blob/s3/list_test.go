package s3_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/blob/s3"
)

func isList(r *http.Request) bool { return r.URL.Query().Get("list-type") == "2" }

func isListOfUploads(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Has("uploads")
}

// answer answers everything with 200 and a text.
func answer(text string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		_, err := io.WriteString(w, text)
		return err == nil
	}
}

// listed is how many objects a list gives, and how it ends.
func listed(t *testing.T, b *s3.Bucket) (n int, failed error) {
	t.Helper()
	for _, err := range b.List(t.Context(), "") {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A list that is cut short without a word must not pass for a whole one: what it leaves out would be taken for removed.
func TestListThatIsCutShortIsAnError(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	putBytes(t, direct, "t/1", content(10))
	for name, next := range map[string]string{"no token": "", "the same token again": "<NextContinuationToken>x</NextContinuationToken>"} {
		p.Set(lab.Fault{
			Only:   isList,
			Before: answer(`<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>` + next + `</ListBucketResult>`),
		})
		_, failed := listed(t, faulty)
		require.ErrorContains(t, failed, "the list goes on", name)
	}
}

// Nor must the answer of another server pass for the end of one.
func TestAnswerOfAnotherServerIsNoEndOfAList(t *testing.T) {
	for name, last := range map[string]string{
		"nothing": "", "HTML": "<html/>", "foreign XML": `<?xml version="1.0"?><status><code>ok</code></status>`,
		"another bucket": `<?xml version="1.0"?><ListBucketResult><Name>other</Name><Bucket>other</Bucket><IsTruncated>false</IsTruncated></ListBucketResult>`,
	} {
		t.Run(name, func(t *testing.T) {
			faulty, direct, p := behindProxy(t, nil)
			put(t, direct, "t/1", "one")
			second := answer(last)
			p.Set(lab.Fault{Only: isList, Before: func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Has("continuation-token") {
					return second(w, r)
				}
				return answer(`<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>`+
					`<Contents><Key>`+r.URL.Query().Get("prefix")+`t/1</Key><Size>3</Size></Contents></ListBucketResult>`)(w, r)
			}})
			n, err := listed(t, faulty)
			require.ErrorContains(t, err, "bucket")
			require.Equal(t, 1, n)

			p.Set(lab.Fault{Only: isListOfUploads, Before: func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Has("key-marker") {
					return second(w, r)
				}
				return answer(`<?xml version="1.0"?><ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>true</IsTruncated><NextKeyMarker>x</NextKeyMarker></ListMultipartUploadsResult>`)(w, r)
			}})
			_, err = faulty.Tidy(t.Context(), time.Now().Add(-time.Hour))
			require.ErrorContains(t, err, "bucket")
		})
	}
}

// So it is with the only page there is, which a check looks at as well.
func TestAnswerOfAnotherServerIsNoEmptyList(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "HTML": "<html/>", "foreign XML": `<?xml version="1.0"?><status><code>ok</code></status>`} {
		t.Run(name, func(t *testing.T) {
			faulty, _, p := behindProxy(t, nil)
			p.Set(lab.Fault{Only: isList, Before: answer(text)})
			_, err := listed(t, faulty)
			require.ErrorContains(t, err, "names no bucket")
			proofs := faulty.Prove(t.Context())
			require.Len(t, proofs, 1)
			require.ErrorContains(t, proofs[0].Err, "names no bucket")

			p.Set(lab.Fault{Only: isListOfUploads, Before: answer(text)})
			_, err = faulty.Tidy(t.Context(), time.Now().Add(-time.Hour))
			require.ErrorContains(t, err, "names no bucket")
			require.True(t, slices.ContainsFunc(faulty.Prove(t.Context()), func(p s3.Proof) bool { return strings.Contains(p.Lacks, "names no bucket") }))
		})
	}
}
