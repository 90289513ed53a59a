package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// bucketLoad has clients of every kind, among them one whose messages go in parts.
var bucketLoad = []weight{light, light, light, light, medium, heavy, huge}

// tortureS3 kills the daemon while its objects go to a bucket, and takes the bucket away while mail comes in.
func tortureS3(t *testing.T, report *tortureReport, backend string) {
	report.roundsOn(t, newRigOnS3, "S3: kill -9 under load or at the start", backend, tortureRounds(t, "S3_KILL", 5, 200), killRoundOnS3)
	report.roundsOn(t, newRigOnS3, "S3: down, lost answers, 5 s delay or 1 KB/s under load, then kill -9", backend,
		tortureRounds(t, "S3_FAULT", 5, 50), faultRoundOnS3)
}

// newRigOnS3 makes a rig whose objects are in a MinIO that tests share, behind a proxy.
func newRigOnS3(t testing.TB, backend string) *tortureRig {
	t.Helper()
	r := &tortureRig{bucket: newBucketSite(t, labtest.MinIO(t))}
	t.Cleanup(func() { // after the daemon's end: it makes probes
		if n := r.bucket.unfinished(t); n > 0 {
			t.Logf("%d unfinished uploads removed, as by the sweep", n)
		}
		require.Zero(t, r.bucket.unfinished(t), "no unfinished upload is left after a sweep")
	})
	r.setUp(t, r.bucket.site(backend, ", multipart_threshold_mb: 5, multipart_chunk_mb: 5, request_timeout: 2s"))
	return r
}

func killRoundOnS3(t *testing.T, r *tortureRig, random *rand.Rand, name string) {
	t.Helper()
	if random.IntN(4) == 0 {
		r.daemon = r.site.launch(t)
		load := startLoad(t.Context(), r.site, r.ledger, bucketLoad, name, random.Uint64())
		moment(random, r.startTook*3/2)
		r.daemon.kill()
		load.stop()
		return
	}
	require.NoError(t, r.start(t))
	load := startLoad(t.Context(), r.site, r.ledger, bucketLoad, name, random.Uint64())
	r.awaitAcks(t, random.IntN(60))
	moment(random, 200*time.Millisecond)
	r.daemon.kill()
	load.stop()
}

// faultRoundOnS3 gives the object store a bad moment, lets it come back, and kills the daemon.
func faultRoundOnS3(t *testing.T, r *tortureRig, random *rand.Rand, name string) {
	t.Helper()
	r.bucket.proxy.Set(lab.Fault{})
	require.NoError(t, r.start(t))
	load := startLoad(t.Context(), r.site, r.ledger, bucketLoad, name, random.Uint64())
	r.awaitAcks(t, random.IntN(20))
	faults := []lab.Fault{{Down: true}, {Lose: true}, {Delay: 5 * time.Second}, {BytesPerSecond: 1000}, {Break: true}}
	r.bucket.proxy.Set(faults[random.IntN(len(faults))])
	moment(random, 3*time.Second)
	if random.IntN(3) > 0 {
		r.bucket.proxy.Set(lab.Fault{})
		r.awaitAcks(t, 1+random.IntN(20))
	}
	r.daemon.kill()
	r.bucket.proxy.Set(lab.Fault{})
	load.stop()
}

// eachMessage reads all messages around the proxy.
func (b *bucketSite) eachMessage(look func(path string, raw []byte)) error {
	for info, err := range b.direct.List(context.Background(), "") {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(info.Key, ".eml") {
			continue
		}
		r, _, err := b.direct.Get(context.Background(), info.Key, 0, -1)
		if err != nil {
			return err
		}
		raw, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		look(info.Key, raw)
	}
	return nil
}
