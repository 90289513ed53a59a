package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob/s3"
	"github.com/mairust/mairust/store/storetest"
)

// bucketSite is a site whose objects are in S3, below a prefix of its own; behind a proxy where there is one.
type bucketSite struct {
	server *lab.MinIO
	proxy  *lab.FaultProxy
	// direct goes around the proxy.
	direct *s3.Bucket
	prefix string
}

func newBucketSite(t testing.TB, m *lab.MinIO) *bucketSite {
	t.Helper()
	b := &bucketSite{server: m, proxy: labtest.FaultProxy(t, m.Addr), prefix: "site-" + uuid.NewString() + "/"}
	var err error
	b.direct, err = s3.New(t.Context(), s3.Options{
		Bucket: m.Bucket, Prefix: b.prefix, Endpoint: m.URL(), PathStyle: true, AccessKeyID: m.User, SecretAccessKey: m.Password,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.direct.Close()) })
	return b
}

// options are the options of the backend, with more, as YAML in one line.
func (b *bucketSite) options(more string) string {
	return fmt.Sprintf("{bucket: %s, prefix: %s, endpoint: %q, path_style: true, access_key_id: %s, secret_access_key: %s%s}",
		b.server.Bucket, b.prefix, b.proxy.URL(), b.server.User, b.server.Password, more)
}

// section is the section storage.
func (b *bucketSite) section(more string) string {
	return "storage: {backend: s3, options: " + b.options(more) + "}\n"
}

// site are the options of a site on it.
func (b *bucketSite) site(backend, more string) siteOptions {
	return siteOptions{Backend: backend, Extra: b.section(more)}
}

// objectsOf are the keys of the messages.
func (b *bucketSite) messages(t testing.TB) (keys []string) {
	t.Helper()
	for info, err := range b.direct.List(t.Context(), "") {
		require.NoError(t, err)
		if strings.HasSuffix(info.Key, ".eml") {
			keys = append(keys, info.Key)
		}
	}
	return keys
}

// unfinished removes the uploads that were never finished, and says how many there were.
func (b *bucketSite) unfinished(t testing.TB) int {
	t.Helper()
	n, err := b.direct.Tidy(context.Background(), time.Now().Add(time.Minute)) // also when the test is over
	require.NoError(t, err)
	return n
}

// encryptions are the ways in which MinIO encrypts.
var encryptions = map[string]string{
	"sse-s3": "", "sse-kms": ", encryption: sse-kms, kms_key_id: lab", "none": ", encryption: none, checksums: off",
}

func TestMailInS3IsStoredOnceForAllAndReadBackByteForByte(t *testing.T) {
	for _, backend := range storetest.Backends() {
		for name, more := range encryptions {
			t.Run(backend+"/"+name, func(t *testing.T) {
				b := newBucketSite(t, labtest.MinIO(t))
				o := b.site(backend, more)
				o.Mailboxes = []string{"bob", "eve"}
				site := newTestSite(t, o)
				checked := site.run(t, "check")
				assert.NotContains(t, checked, "FAIL")
				assert.Contains(t, checked, "a key that is taken is refused (If-None-Match)")
				daemon := site.start(t)
				for _, size := range []int{10, 100_000, 3 << 20, 20 << 20} {
					body := strings.Repeat("0123456789abcde\n", size/16+1)
					message := fmt.Sprintf("Subject: size-%d\r\n\r\n%s\r\n", size, strings.ReplaceAll(body, "\n", "\r\n"))
					replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test", "eve@example.test"}, []byte(message))
					require.NoError(t, err)
					require.True(t, replies.Accepted(), "%+v", replies)
					for _, local := range []string{"bob", "eve"} {
						m := daemon.messages(t, local+"@example.test", "")[0]
						require.Equal(t, fmt.Sprintf("size-%d", size), m.Subject)
						want := "Return-Path: <a@sender.test>\r\n" + message
						require.True(t, want == string(daemon.raw(t, m.ID)), "size %d in %s", size, local)
					}
				}
				out, code := site.fsck(t, "--verify-content", "--min-age", "0s")
				require.Zero(t, code, out)
				require.Contains(t, out, "8 messages compared, 8 read whole")
				require.Zero(t, b.unfinished(t))
			})
		}
	}
}

// TestBucketWithAHostOfItsOwn is how AWS and Wasabi are asked: the bucket is in the name of the host, not in the path.
func TestBucketWithAHostOfItsOwn(t *testing.T) {
	b := newBucketSite(t, labtest.MinIO(t))
	t.Setenv("HTTP_PROXY", b.server.URL()) // instead of a name server; only the daemon's
	_, port, found := strings.Cut(b.server.Addr, ":")
	require.True(t, found)
	options := strings.ReplaceAll(b.options(""), "path_style: true", "path_style: false")
	options = strings.ReplaceAll(options, b.proxy.URL(), "http://"+lab.MinIODomain+":"+port)
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}, Extra: "storage: {backend: s3, options: " + options + "}\n"})
	assert.NotContains(t, site.run(t, "check"), "FAIL")
	daemon := site.start(t)
	acked := &acknowledged{}
	for _, size := range []int{100, 300_000} {
		require.True(t, acked.send(t, site, "bob", bigMessage[:size/18*18]).Accepted())
	}
	acked.check(t, daemon, "bob")
	require.Len(t, b.messages(t), 2)
}

func TestFsckMendsABucket(t *testing.T) {
	b := newBucketSite(t, labtest.MinIO(t))
	o := b.site("sqlite", "")
	o.Mailboxes = []string{"bob"}
	site := newTestSite(t, o)
	daemon := site.start(t)
	acked := &acknowledged{}
	for range 4 {
		require.True(t, acked.send(t, site, "bob", nil).Accepted())
	}
	keys := b.messages(t)
	require.Len(t, keys, 4)
	require.NoError(t, b.direct.Delete(t.Context(), keys[0]))
	require.NoError(t, b.direct.Replace(t.Context(), keys[1], strings.NewReader("damaged"), 7))
	whole := read(t, b.direct, keys[2])
	altered := bytes.Clone(whole)
	altered[len(altered)-3] ^= 1
	require.NoError(t, b.direct.Replace(t.Context(), keys[2], bytes.NewReader(altered), int64(len(altered))))
	// A message that the database lost.
	lost := keys[3][:strings.LastIndexByte(keys[3], '/')+1] + uuid.Must(uuid.NewV7()).String() + ".eml"
	require.NoError(t, b.direct.Copy(t.Context(), keys[3], lost))

	out, code := site.fsck(t, "--verify-content", "--repair", "--min-age", "0s")
	require.Equal(t, fsckLeft, code, out)
	for _, kind := range []string{"object_missing", "object_size", "object_content", "object_without_row"} {
		require.Contains(t, out, kind)
	}
	require.NoError(t, b.direct.Replace(t.Context(), keys[2], bytes.NewReader(whole), int64(len(whole))))
	out, _ = site.fsck(t, "--verify-content", "--min-age", "0s")
	require.NotContains(t, out, "object_content", "what is whole again is known to be")
	require.NotEmpty(t, daemon.messages(t, "bob@example.test", ""))
}

func read(t *testing.T, b *s3.Bucket, key string) []byte {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return raw
}

func TestIndexIsMadeAgainFromABucket(t *testing.T) {
	b := newBucketSite(t, labtest.MinIO(t))
	o := b.site("sqlite", "")
	o.Mailboxes = []string{"bob"}
	site := newTestSite(t, o)
	daemon := site.start(t)
	acked := &acknowledged{}
	for range 3 {
		require.True(t, acked.send(t, site, "bob", nil).Accepted())
	}
	waitFor(t, "the description of the mailbox", func() bool {
		for info, err := range b.direct.List(t.Context(), "") {
			if err == nil && strings.HasSuffix(info.Key, "/mailbox.json") {
				return true
			}
		}
		return false
	})
	daemon.kill()
	site.change(t, "database: {backend: sqlite}", "database: {backend: sqlite, path: "+site.dir+"/new.db}")
	out, code := site.fsck(t, "--rebuild")
	require.Equal(t, fsckMended, code, out)
	out, code = site.fsck(t, "--verify-content", "--min-age", "0s")
	require.Zero(t, code, out)
	require.Contains(t, out, "3 messages compared, 3 read whole")
}
