// Package s3 keeps the objects of package blob in a bucket of S3, or of a server that speaks its protocol.
//
// Every object carries its own SHA-256 as metadata, and those of its chunks of 1 MiB, so that no byte of a damaged one
// is ever given, be it a range of it. Each key is written once, by a conditional PUT where the server has that. Uploads
// read what they send from the caller, part by part: how much memory one takes does not depend on its size.
// docs/adr/0018-s3.md says why.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mairust/mairust/store/blob"
)

// Bucket is a bucket of S3, or what lies below a prefix in one. New makes it; it may be used by many goroutines, and by
// many processes at once.
type Bucket struct {
	o      Options
	client *s3.Client
	http   *http.Transport
	// credentials are those of the client.
	credentials aws.CredentialsProvider
	log         *slog.Logger
	metrics     *metrics
	lists       recentLists
	// turns hold those that write the same key one after the other, where the server has no conditional PUT.
	turns [64]sync.Mutex

	// probing holds one search for can at a time.
	probing chan struct{}
	can     *abilities
	unable  unable
}

var (
	_ blob.Bucket   = (*Bucket)(nil)
	_ blob.Replacer = (*Bucket)(nil)
	_ blob.Tidier   = (*Bucket)(nil)
)

// New makes a Bucket. It asks the server nothing; Check does. Close it in the end.
func New(ctx context.Context, o Options) (*Bucket, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	b := &Bucket{o: o, log: o.Log, metrics: newMetrics(o.Registerer), probing: make(chan struct{}, 1)}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	load := []func(*config.LoadOptions) error{
		config.WithRegion(o.Region),
		// Retries are our own: only they know which answer was lost (attempt.go).
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if o.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(&keys{o: o, log: b.log, id: o.AccessKeyID, secret: o.SecretAccessKey}))
	}
	c, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	b.credentials = c.Credentials
	b.http = o.transport(c.HTTPClient)
	b.client = s3.NewFromConfig(c, func(s *s3.Options) {
		s.HTTPClient = &http.Client{Transport: b.http, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a signature is for one host
		}}
		s.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			s.BaseEndpoint = aws.String(o.Endpoint)
		}
		// Checksums are our own: the SDK's are refused by older servers.
		s.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		s.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		s.DisableLogOutputChecksumValidationSkipped = true
	})
	return b, nil
}

// Close gives idle connections back. Readers that are open go on.
func (b *Bucket) Close() error {
	b.http.CloseIdleConnections()
	return nil
}

// String names the bucket for logs and people.
func (b *Bucket) String() string {
	return fmt.Sprintf("s3://%s/%s at %s", b.o.Bucket, b.o.Prefix, cmp.Or(b.o.Endpoint, "AWS "+b.o.Region))
}

// transport bounds the connections; how long a request may take, its context says. It trusts whom the SDK's own client
// trusts, which looks at AWS_CA_BUNDLE.
func (o Options) transport(client aws.HTTPClient) *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if own, ok := client.(*awshttp.BuildableClient); ok {
		t = own.GetTransport()
	}
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	t.DialContext = dialer.DialContext
	t.TLSHandshakeTimeout = dialTimeout
	t.ExpectContinueTimeout = time.Second
	t.IdleConnTimeout = 90 * time.Second
	t.MaxConnsPerHost, t.MaxIdleConns, t.MaxIdleConnsPerHost = o.MaxConnections, o.MaxConnections, o.MaxConnections
	return t
}

// dialTimeout bounds the making of a connection, and the greeting of TLS.
const dialTimeout = 5 * time.Second

// name is the key as the server knows it.
func (b *Bucket) name(key string) *string { return aws.String(b.o.Prefix + key) }

// The folders of what is no object. No key begins with a dot.
const (
	// probeDir is for what Check writes and removes.
	probeDir = ".probe/"
	// sumsDir is for the digests of objects that have too many for their metadata.
	sumsDir = ".sums/"
)

// Stat describes the object.
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := blob.CheckGet(ctx, key, 0); err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	h, err := b.head(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		// The answer has no words: it may be the bucket that is missing.
		if gone := b.exists(ctx); gone != nil {
			err = gone
		}
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return h.info, nil
}

// Delete removes the object. Its digests, if they have an object of their own, are left to Tidy.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := blob.CheckGet(ctx, key, 0)
	if err == nil {
		err = b.delete(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

func (b *Bucket) delete(ctx context.Context, key string) error {
	return b.try(ctx, "delete", 0, func(ctx context.Context) error {
		_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.o.Bucket, Key: b.name(key)})
		if errors.Is(explain(err), blob.ErrNotFound) {
			return nil // some servers say so
		}
		return err
	})
}

// exists asks whether the bucket is there and we may look into it. Its error is no ErrNotFound, which is about objects.
func (b *Bucket) exists(ctx context.Context) error {
	err := b.try(ctx, "head_bucket", 0, func(ctx context.Context) error {
		_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.o.Bucket})
		return err
	})
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("bucket %s: %s: %s", b.o.Bucket, wordsOf["NoSuchBucket"], err.Error())
	}
	return err
}
