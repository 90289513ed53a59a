package s3_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
	"github.com/mairust/mairust/store/blob/s3"
)

func prove(t *testing.T, b *s3.Bucket) (lacks, failed []string) {
	t.Helper()
	proofs := b.Prove(t.Context())
	require.NotEmpty(t, proofs)
	for _, p := range proofs {
		t.Logf("%s: err %v, lacks %q, mend %q", p.What, p.Err, p.Lacks, p.Mend)
		if p.Err != nil {
			failed = append(failed, p.What+": "+p.Err.Error())
		}
		if p.Lacks != "" {
			lacks = append(lacks, p.What)
		}
		require.True(t, p.Mend != "" || p.Err == nil && p.Lacks == "")
	}
	for _, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		t.Fatal("something is left")
	}
	n, err := b.Tidy(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Zero(t, n, "nothing is left")
	return lacks, failed
}

func TestMinIODoesAllThatIsNeeded(t *testing.T) {
	o := endpoint(t)
	lacks, failed := prove(t, open(t, o))
	require.Empty(t, lacks)
	require.Empty(t, failed)
}

func TestPartsBelowFiveMiBAreExplained(t *testing.T) {
	o := optionsOf(labtest.MinIO(t))
	o.MultipartChunkMB = 4
	b := open(t, o)
	_, failed := prove(t, b)
	require.Len(t, failed, 1)
	require.Contains(t, failed[0], "raise multipart_chunk_mb to 5 or more")
	data := content(9 << 20)
	err := b.Put(t.Context(), "a", strings.NewReader(string(data)), int64(len(data)))
	require.ErrorContains(t, err, "raise multipart_chunk_mb to 5 or more")
	require.Empty(t, unfinished(t, b))
}

func TestServerWithoutKMSIsExplained(t *testing.T) {
	m := labtest.OwnMinIO(t, lab.MinIOOptions{WithoutKMS: true})
	_, failed := prove(t, open(t, optionsOf(m)))
	require.Len(t, failed, 1)
	require.Contains(t, failed[0], "refuses encryption: sse-s3, and stores without")
	o := optionsOf(m)
	o.Encryption = s3.None
	lacks, failed := prove(t, open(t, o))
	require.Empty(t, lacks)
	require.Empty(t, failed)
}

func TestWrongKeysAreExplained(t *testing.T) {
	o := optionsOf(labtest.MinIO(t))
	o.SecretAccessKey = "wrong"
	b := open(t, o)
	proofs := b.Prove(t.Context())
	require.Len(t, proofs, 1)
	require.ErrorContains(t, proofs[0].Err, "SignatureDoesNotMatch")
	require.NotContains(t, proofs[0].Err.Error(), "wrong\"")
}

// simpler makes MinIO a server that knows less: headers are taken away, and the request is signed anew.
func simpler(t *testing.T, headers ...string) s3.Options {
	t.Helper()
	m := labtest.MinIO(t)
	p := labtest.FaultProxy(t, m.Addr)
	p.Set(lab.Fault{Before: func(_ http.ResponseWriter, r *http.Request) bool {
		for _, name := range headers {
			r.Header.Del(name)
		}
		signAnew(r, m)
		return false
	}})
	o := optionsOf(m)
	o.Endpoint = p.URL()
	return o
}

func TestServerThatIgnoresConditionsAndEncryption(t *testing.T) {
	o := simpler(t, "If-None-Match", "X-Amz-Server-Side-Encryption")
	lacks, failed := prove(t, open(t, o))
	require.Equal(t, []string{"encryption", "conditional put"}, lacks)
	require.Empty(t, failed)
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, o) })
}

func TestServerThatLosesMetadataIsReadAllTheSame(t *testing.T) {
	o := simpler(t, "X-Amz-Meta-Mairust-Sha256", "X-Amz-Meta-Mairust-Chunks", "X-Amz-Meta-Mairust-Put")
	lacks, failed := prove(t, open(t, o))
	require.Equal(t, []string{"metadata"}, lacks)
	require.Empty(t, failed)
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, o) })
}

func TestServerThatRefusesChecksums(t *testing.T) {
	m := labtest.MinIO(t)
	p := labtest.FaultProxy(t, m.Addr)
	p.Set(lab.Fault{Before: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Checksum-Crc32") == "" && r.Header.Get("X-Amz-Checksum-Algorithm") == "" {
			return false
		}
		w.WriteHeader(http.StatusNotImplemented)
		_, _ = io.WriteString(w, `<Error><Code>NotImplemented</Code><Message>unknown header</Message></Error>`)
		return true
	}})
	o := optionsOf(m)
	o.Endpoint = p.URL()
	b := open(t, o)
	lacks, failed := prove(t, b)
	require.Equal(t, []string{"checksums"}, lacks)
	require.Empty(t, failed)
	put(t, b, "a", "without a checksum")
	o.Checksums = s3.ChecksumsCRC32
	require.Error(t, open(t, o).Put(t.Context(), "a", strings.NewReader("x"), 1))
}
