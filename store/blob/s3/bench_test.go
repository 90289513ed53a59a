package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob/s3"
)

// BenchmarkPutBesideBareSDK puts objects with as many writers as said, a hundred in turns with a loop over the SDK's
// PutObject, which keeps no digest, looks at no answer and may overwrite. ratio is our rate by that of the loop.
func BenchmarkPutBesideBareSDK(b *testing.B) {
	o := endpoint(b)
	ours, bare := open(b, o), bareSDK(o)
	for _, size := range []int{8 << 10, 100 << 10, 1 << 20, 6 << 20} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKB/writers=%d", size>>10, writers), func(b *testing.B) {
				data := content(size)
				turn := max(100*(8<<10)/size, 2*writers)
				var tookOurs, tookBare time.Duration
				n := 0
				putBare := func() {
					n++
					tookBare += many(b, writers, turn, func(i int64) error {
						return bare.put(b.Context(), fmt.Sprintf("bare/%d/%d-%d-%d", size, writers, n, i), data)
					})
				}
				putOurs := func() {
					n++
					tookOurs += many(b, writers, turn, func(i int64) error {
						return ours.Put(b.Context(), fmt.Sprintf("ours/%d/%d-%d-%d", size, writers, n, i), bytes.NewReader(data), int64(size))
					})
				}
				for b.Loop() { // neither has the place after the other only
					putBare()
					putOurs()
					putOurs()
					putBare()
				}
				total := float64(n * turn / 2)
				b.ReportMetric(total/tookOurs.Seconds(), "puts/s")
				b.ReportMetric(total/tookBare.Seconds(), "bare/s")
				b.ReportMetric(tookBare.Seconds()/tookOurs.Seconds(), "ratio")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// many calls f for 0 … n-1 from so many goroutines.
func many(b *testing.B, writers, n int, f func(i int64) error) time.Duration {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, writers)
	began := time.Now()
	for w := range writers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[w] == nil; i = next.Add(1) - 1 {
				errs[w] = f(i)
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	require.NoError(b, errors.Join(errs...))
	return took
}

// loop is the SDK as its examples use it.
type loop struct {
	client *sdk.Client
	bucket string
}

func bareSDK(o s3.Options) loop {
	var base *string
	if o.Endpoint != "" {
		base = &o.Endpoint
	}
	c := sdk.New(sdk.Options{
		Region: o.WithDefaults().Region, BaseEndpoint: base, UsePathStyle: o.PathStyle,
		Credentials:                credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey, ""),
		HTTPClient:                 &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, Proxy: http.ProxyFromEnvironment}},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	})
	return loop{c, o.Bucket}
}

func (l loop) put(ctx context.Context, key string, data []byte) error {
	_, err := l.client.PutObject(ctx, &sdk.PutObjectInput{
		Bucket: &l.bucket, Key: &key, Body: bytes.NewReader(data), ServerSideEncryption: types.ServerSideEncryptionAes256,
	})
	return err
}
