package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/s3"
)

// refusing is a server that refuses everything as AWS's documents say, with some headers more.
func refusing(t *testing.T, code int, name string, headers ...string) *s3.Bucket {
	t.Helper()
	m := labtest.MinIO(t)
	p := labtest.FaultProxy(t, m.Addr)
	p.Set(lab.Fault{Before: func(w http.ResponseWriter, r *http.Request) bool {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "<Error><Code>"+name+"</Code><Message>of the server</Message></Error>")
		}
		return true
	}})
	o := optionsOf(m)
	o.Endpoint = p.URL()
	return open(t, o)
}

// errorsOf are those of all that a mail server does with a bucket.
func errorsOf(t *testing.T, b *s3.Bucket) map[string]error {
	t.Helper()
	_, stat := b.Stat(t.Context(), "t/a")
	_, get := get(t, b, "t/a")
	var list error
	for _, err := range b.List(t.Context(), "") {
		list = err
	}
	_, tidy := b.Tidy(t.Context(), time.Now())
	return map[string]error{
		"put": b.Put(t.Context(), "t/a", strings.NewReader("x"), 1), "stat": stat, "get": get, "list": list, "tidy": tidy,
		"delete": b.Delete(t.Context(), "t/a"), "check": b.Check(t.Context()), "prove": b.Prove(t.Context())[0].Err,
	}
}

func TestRefusalsAreExplained(t *testing.T) {
	const elsewhere = "the bucket is in another region: set region to "
	for name, tt := range map[string]struct {
		status  int
		code    string
		headers []string
		want    string
	}{
		"another region":      {301, "PermanentRedirect", []string{"X-Amz-Bucket-Region", "eu-west-1"}, elsewhere + "eu-west-1"},
		"no region told":      {301, "PermanentRedirect", nil, elsewhere + "its own"},
		"redirect to a page":  {302, "", []string{"Location", "https://www.example.com/"}, elsewhere + "its own"},
		"region of signature": {400, "AuthorizationHeaderMalformed", []string{"X-Amz-Bucket-Region", "eu-west-1"}, elsewhere + "eu-west-1"},
		"no permission":       {403, "AccessDenied", nil, "the keys may not do this"},
	} {
		t.Run(name, func(t *testing.T) {
			for operation, err := range errorsOf(t, refusing(t, tt.status, tt.code, tt.headers...)) {
				require.NotErrorIs(t, err, blob.ErrNotFound, operation)
				if tt.status == 400 && operation == "stat" {
					require.Error(t, err) // the answer to a HEAD has no code
					continue
				}
				require.ErrorContains(t, err, tt.want, operation)
			}
		})
	}
	for code, want := range map[string]string{
		"InvalidAccessKeyId": "look at access_key_id", "ExpiredToken": "the keys have expired", "InvalidBucketName": "look at bucket",
	} {
		b := refusing(t, 403, code)
		require.ErrorContains(t, b.Put(t.Context(), "t/a", strings.NewReader("x"), 1), want)
	}
}

func TestBucketThatIsRenamedWhileInUseIsExplained(t *testing.T) {
	m := labtest.OwnMinIO(t, lab.MinIOOptions{})
	o := optionsOf(m)
	bare := bareSDK(o)
	o.Bucket = "renamed"
	_, err := bare.client.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: &o.Bucket})
	require.NoError(t, err)
	o.Prefix = "p/"
	b := open(t, o)
	put(t, b, "t/a", "content")
	require.NoError(t, b.Delete(t.Context(), "t/a"))
	_, err = bare.client.DeleteBucket(t.Context(), &sdk.DeleteBucketInput{Bucket: &o.Bucket})
	require.NoError(t, err)
	for operation, err := range errorsOf(t, b) {
		require.ErrorContains(t, err, "there is no such bucket: was it renamed or removed?", operation)
		require.NotErrorIs(t, err, blob.ErrNotFound, operation)
	}
	_, err = bare.client.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: &o.Bucket})
	require.NoError(t, err)
	put(t, b, "t/a", "it comes back by itself")
}

func TestKeysThatAreChangedOrBadAreExplainedBeforeAnythingIsAsked(t *testing.T) {
	for _, name := range []string{"郵便", "a", "with space", "with/slash", "-dash"} {
		o := s3.Options{Bucket: name, Region: "r"}
		require.ErrorContains(t, o.WithDefaults().Validate(), "bucket: want the name of a bucket", name)
	}
	o := s3.Options{Bucket: "mail", Region: "r", Prefix: "郵便/"}
	require.ErrorContains(t, o.WithDefaults().Validate(), "prefix: want folders of A-Z")
	b := open(t, endpoint(t))
	for _, key := range []string{"t/郵便.eml", "t/a b", "t/a+b", "t/a%41", "t/\x01", "t/../a"} {
		require.ErrorIs(t, b.Put(t.Context(), key, strings.NewReader("x"), 1), blob.ErrKey, key)
		_, err := b.Stat(t.Context(), key)
		require.ErrorIs(t, err, blob.ErrKey, key)
	}
}

func TestStrangeKeysOfOthersDoNotHideOurs(t *testing.T) {
	o := endpoint(t)
	b := open(t, o)
	bare := bareSDK(o)
	prefix := strings.TrimSuffix(strings.TrimPrefix(b.String(), "s3://"+o.Bucket+"/"), " at "+o.Endpoint)
	strange := []string{"t/郵便.eml", "t/a b+c%41&d<e>.eml", "t/\x01\x0b.eml", "t/\"quoted\".eml", "t/😀", ".sums/t/郵便"}
	for _, key := range strange {
		require.NoError(t, bare.put(t.Context(), prefix+key, []byte("strange")), key)
		up, err := bare.client.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: aws.String(prefix + key + "-up")})
		require.NoError(t, err, key)
		defer func() { // not ours to tidy
			_, err := bare.client.AbortMultipartUpload(t.Context(), &sdk.AbortMultipartUploadInput{Bucket: &o.Bucket, Key: up.Key, UploadId: up.UploadId})
			require.NoError(t, err)
		}()
	}
	put(t, b, "t/a.eml", "ours")
	put(t, b, "t/z.eml", "ours")
	var keys []string
	for info, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	require.Equal(t, []string{"t/a.eml", "t/z.eml"}, keys)
	require.Empty(t, unfinished(t, b))
	for _, key := range strange {
		_, err := bare.client.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: &o.Bucket, Key: aws.String(prefix + key)})
		require.NoError(t, err, "%q is left alone", key)
	}
}

// atAnotherTime is a MinIO whose clock is ahead, as a proxy shows it: it refuses what is not signed at its time, and tells
// its time if it may.
func atAnotherTime(t *testing.T, ahead time.Duration, tells bool) s3.Options {
	t.Helper()
	m := labtest.MinIO(t)
	p := labtest.FaultProxy(t, m.Addr)
	clock := func(h http.Header) {
		h["Date"] = nil
		if tells {
			h.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}
	}
	p.Set(lab.Fault{
		Before: func(w http.ResponseWriter, r *http.Request) bool {
			at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil || time.Until(at.Add(-ahead)).Abs() > 15*time.Minute {
				clock(w.Header())
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "<Error><Code>RequestTimeTooSkewed</Code><Message>too large</Message></Error>")
				return true
			}
			signAnew(r, m)
			return false
		},
		After: func(r *http.Response) { clock(r.Header) },
	})
	o := optionsOf(m)
	o.Endpoint = p.URL()
	return o
}

// signAnew signs a request that was changed on its way.
func signAnew(r *http.Request, m *lab.MinIO) {
	keys := aws.Credentials{AccessKeyID: m.User, SecretAccessKey: m.Password}
	r.URL.Scheme, r.URL.Host = "http", r.Host
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	_ = signer.SignHTTP(r.Context(), keys, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", "us-east-1", time.Now()) // else the server refuses it
}

func TestClocksThatDiffer(t *testing.T) {
	b := open(t, atAnotherTime(t, time.Hour, true))
	put(t, b, "a", "signed with the server's time, which its answers tell")
	got, err := get(t, b, "a")
	require.NoError(t, err)
	require.Contains(t, string(got), "signed with")
	b = open(t, atAnotherTime(t, -time.Hour, false))
	require.ErrorContains(t, b.Put(t.Context(), "a", strings.NewReader("x"), 1), "differ by more than 15 minutes: set both by NTP")
}

func TestKeysAreChangedWhileMailFlows(t *testing.T) {
	m := labtest.OwnMinIO(t, lab.MinIOOptions{})
	o := optionsOf(m)
	id, secret, failure := m.User, m.Password, error(nil)
	o.Keys = func() (string, string, error) { return id, secret, failure }
	b := open(t, o)
	put(t, b, "a", "with the first keys")
	m.Stop()
	m.User, m.Password = "another", "another secret of the lab"
	require.NoError(t, m.Start(t.Context()))
	failure = errors.New("the file is being written")
	err := b.Put(t.Context(), "b", strings.NewReader("x"), 1)
	require.ErrorContains(t, err, "look at access_key_id")
	id, secret, failure = m.User, m.Password, nil
	put(t, b, "b", "with the second, at the first attempt of its caller")
	got, err := get(t, b, "a")
	require.NoError(t, err)
	require.Equal(t, "with the first keys", string(got))
}

func TestUploadWhoseEndHadNoAnswerInTime(t *testing.T) {
	isEnd := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	short := func(o *s3.Options) {
		o.RequestTimeout, o.Attempts, o.MultipartThresholdMB, o.MultipartChunkMB = time.Second, 1, 5, 5
	}
	data := content(5<<20 + 1)
	t.Run("the server has done it", func(t *testing.T) {
		t.Parallel()
		faulty, direct, p := behindProxy(t, short)
		p.Set(lab.Fault{Hold: true, Only: isEnd})
		putBytes(t, faulty, "a", data)
		got, err := get(t, direct, "a")
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.Empty(t, unfinished(t, direct))
	})
	t.Run("the server never came to it", func(t *testing.T) {
		t.Parallel()
		faulty, direct, p := behindProxy(t, short)
		p.Set(lab.Fault{Only: isEnd, Before: func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body) // a server sees that its client has gone when nothing of the request is left
			<-r.Context().Done()
			return true
		}})
		require.ErrorContains(t, faulty.Put(t.Context(), "a", bytes.NewReader(data), int64(len(data))), "did not answer in time")
		_, err := direct.Stat(t.Context(), "a")
		require.ErrorIs(t, err, blob.ErrNotFound)
		require.Empty(t, unfinished(t, direct))
		p.Set(lab.Fault{})
		putBytes(t, faulty, "a", data)
	})
}
