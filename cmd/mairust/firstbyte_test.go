package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob/crypt"
)

// BenchmarkFirstByteOverHTTP measures the time from the request to the first byte of the body when an attachment in the
// second half of a long message is downloaded through the API of a real daemon: from its beginning, and from anywhere in it
// (Range). Each request has a connection of its own. Decoded copies are not kept, so that all of it comes from the message.
// MAIRUST_BENCH_MESSAGE_MB sets the size of the message; default 64.
func BenchmarkFirstByteOverHTTP(b *testing.B) {
	mb, err := strconv.Atoi(os.Getenv("MAIRUST_BENCH_MESSAGE_MB"))
	if err != nil {
		mb = 64
	}
	for _, backend := range []string{"fs", "s3"} {
		for _, encryption := range []string{"none", "client"} {
			b.Run(fmt.Sprintf("%dMiB/%s/encryption=%s", mb, backend, encryption), func(b *testing.B) {
				p, path, sizeBytes := daemonWithLongMessage(b, mb<<20, backend, encryption)
				b.Run("beginning", func(b *testing.B) {
					measureFirstByte(b, p, path, func() int64 { return 0 })
				})
				b.Run("range", func(b *testing.B) {
					measureFirstByte(b, p, path, func() int64 { return rand.Int64N(sizeBytes) })
				})
			})
		}
	}
}

// daemonWithLongMessage gives the path of the attachment that is the second half of a message.
func daemonWithLongMessage(b *testing.B, size int, backend, encryption string) (p *process, path string, sizeBytes int64) {
	b.Helper()
	file, recipient, err := crypt.NewOperator(time.Now())
	require.NoError(b, err)
	operator := filepath.Join(b.TempDir(), "operator.key")
	require.NoError(b, os.WriteFile(operator, []byte(file), 0o600))
	more := ", attachments: never, encryption: " + encryption
	options := "{" + more[2:] + "}"
	if backend == "s3" {
		options = newBucketSite(b, labtest.MinIO(b)).options(more)
	}
	site := newTestSite(b, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}, Extra: fmt.Sprintf(
		"storage: {backend: %s, options: %s, encryption: {operator_recipients: [%s], operator_identity: %q}}\n",
		backend, options, recipient, "file:"+operator)})
	p = site.start(b)
	replies, err := site.lmtp(b.Context(), "alice@sender.test", []string{"bob@example.test"}, longMessage(size))
	require.NoError(b, err)
	require.True(b, replies.Accepted(), "%+v", replies)
	id := p.messages(b, "bob@example.test", "")[0].ID
	body, err := p.getOK("/api/v1/messages/" + id)
	require.NoError(b, err)
	var m wire.MessageDetail
	require.NoError(b, json.Unmarshal(body, &m))
	require.Len(b, m.Attachments, 2)
	a := m.Attachments[1]
	return p, "/api/v1/messages/" + id + "/attachments/" + a.ID, a.SizeBytes
}

// patternOf is what attachments are made of.
const patternOf = "abc"

// longMessage has two attachments of the same size.
func longMessage(size int) []byte {
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(patternOf), 19)) + "\r\n"
	part := "--b\r\nContent-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	content := bytes.Repeat([]byte(line), size/2/len(line))
	return slices.Concat([]byte("Subject: long\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+part), content,
		[]byte(part), content, []byte("--b--\r\n"))
}

func measureFirstByte(b *testing.B, p *process, path string, offset func() int64) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		took = append(took, firstByte(b, p, path, offset()))
	}
	slices.Sort(took)
	var sum time.Duration
	for _, t := range took {
		sum += t
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(sum)/float64(len(took)), "mean-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
	b.ReportMetric(ms(took[len(took)-1]), "worst-ms")
	b.ReportMetric(0, "ns/op")
}

// firstByte downloads from an offset on, and breaks off after the first byte.
func firstByte(b *testing.B, p *process, path string, offset int64) time.Duration {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, p.http+path, nil)
	require.NoError(b, err)
	req.Header.Set("Authorization", "Bearer "+p.site.key)
	want := http.StatusOK
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		want = http.StatusPartialContent
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	began := time.Now()
	resp, err := client.Do(req)
	require.NoError(b, err)
	first := make([]byte, 1)
	_, err = io.ReadFull(resp.Body, first)
	took := time.Since(began)
	require.NoError(b, err)
	require.Equal(b, want, resp.StatusCode)
	require.Equal(b, patternOf[offset%3], first[0])
	require.NoError(b, resp.Body.Close())
	return took
}
