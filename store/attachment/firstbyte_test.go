package attachment_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
)

// oneTenant keeps the keys of one tenant in memory.
type oneTenant struct{ keys []store.TenantKey }

func (x *oneTenant) TenantKeys(context.Context, store.TenantID) ([]store.TenantKey, error) {
	return x.keys, nil
}

func (x *oneTenant) AddTenantKey(_ context.Context, k store.TenantKey, _ store.Beside) error {
	x.keys = append(x.keys, k)
	return nil
}

func (x *oneTenant) AddFirstTenantKey(ctx context.Context, k store.TenantKey) error {
	return x.AddTenantKey(ctx, k, store.Beside{})
}

func (x *oneTenant) CheckOperator(context.Context, string) error { return nil }

// backends are files, plain and encrypted.
func backends(t testing.TB) map[string]blob.Bucket {
	t.Helper()
	files, err := blob.NewFS(t.TempDir(), blob.FSOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, files.Close()) })
	operator, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: &oneTenant{}, Backend: files, Recipients: []age.Recipient{operator.Recipient()}, Operator: []age.Identity{operator},
	})
	return map[string]blob.Bucket{"plain": files, "encrypted": crypt.New(crypt.Options{Backend: files, Keys: keys, Encrypt: true})}
}

// long is a message of about so many bytes, made as it is read: half of it is a part in front of the attachment.
type long struct {
	head, between, tail string
	line                string
	lines               int64
	at                  int64
}

func newLong(size int64) *long {
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("abc"), 19)) + "\r\n"
	part := "--b\r\nContent-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	return &long{
		head: "Subject: long\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + part, between: part, tail: "--b--\r\n",
		line: line, lines: size / 2 / int64(len(line)),
	}
}

func (l *long) half() int64 { return l.lines * int64(len(l.line)) }

func (l *long) size() int64 { return int64(len(l.head)+len(l.between)+len(l.tail)) + 2*l.half() }

func (l *long) Read(p []byte) (int, error) {
	at := l.at
	for _, piece := range []struct {
		text  string
		bytes int64
	}{{l.head, int64(len(l.head))}, {l.line, l.half()}, {l.between, int64(len(l.between))}, {l.line, l.half()}, {l.tail, int64(len(l.tail))}} {
		if at >= piece.bytes {
			at -= piece.bytes
			continue
		}
		n := 0
		for n < len(p) && at < piece.bytes {
			m := copy(p[n:], piece.text[at%int64(len(piece.text)):])
			n, at = n+m, at+int64(m)
		}
		l.at += int64(n)
		return n, nil
	}
	return 0, io.EOF
}

func (l *long) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.New("only from the beginning")
	}
	l.at = offset
	return offset, nil
}

// putLong stores a long message, and gives it as the index would have it, with its second attachment.
func putLong(t testing.TB, to blob.Bucket, size int64) (*store.Message, mail.Part) {
	t.Helper()
	l := newLong(size)
	d := blob.NewDigester()
	summary, err := mail.Summarize(io.TeeReader(l, d), mail.Limits{})
	require.NoError(t, err)
	require.Equal(t, l.size(), l.at)
	sum := d.Sum()
	m := &store.Message{
		ID: "message", Tenant: "tenant", Mailbox: "mailbox", Key: "tenant/mailbox/" + fmt.Sprintf("%T.eml", to)[1:], SizeBytes: l.size(),
		Digest: hex.EncodeToString(sum[:]), Pieces: d.Pieces(), Parts: summary.Parts,
	}
	require.NoError(t, to.Put(t.Context(), m.Key, l, l.size()))
	found := attachment.Attachments(m)
	require.Len(t, found, 2)
	require.Greater(t, found[1].Offset, size/2-1000)
	return m, found[1]
}

func TestTheFirstByteOfAnAttachmentNeedsLittleOfItsMessage(t *testing.T) {
	const size = 32 << 20
	for name, bucket := range backends(t) {
		m, p := putLong(t, bucket, size)
		counted := &counting{Bucket: bucket}
		for _, offset := range []int64{0, 1000, p.DecodedSize / 2, p.DecodedSize - 3} {
			counted.n = 0
			r, err := attachment.New(attachment.Options{Objects: counted}).Open(t.Context(), m, p, offset, -1)
			require.NoError(t, err)
			got := make([]byte, 3)
			_, err = io.ReadFull(r, got)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.Equal(t, "abcabc"[offset%3:offset%3+3], string(got), name)
			require.LessOrEqual(t, counted.n, int64(2*blob.PieceBytes), name)
		}
	}
}

// counting counts what is read of a bucket.
type counting struct {
	blob.Bucket
	n int64
}

func (c *counting) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	r, info, err := c.Bucket.Get(ctx, key, offset, n)
	if err != nil {
		return nil, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, c), r}, info, nil
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// BenchmarkFirstByte measures the time to the first byte of an attachment in the second half of a long message that nobody
// has read yet, and what is allocated meanwhile. MAIRUST_BENCH_MESSAGE_MB sets its size; default 64.
func BenchmarkFirstByte(b *testing.B) {
	mb, err := strconv.ParseInt(os.Getenv("MAIRUST_BENCH_MESSAGE_MB"), 10, 64)
	if err != nil {
		mb = 64
	}
	for name, bucket := range backends(b) {
		m, p := putLong(b, bucket, mb<<20)
		b.Run(fmt.Sprintf("%s/%dMiB", name, mb), func(b *testing.B) {
			var worst time.Duration
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range b.N {
				began := time.Now()
				r, err := attachment.New(attachment.Options{Objects: bucket}).Open(b.Context(), m, p, 0, -1)
				require.NoError(b, err)
				_, err = io.ReadFull(r, make([]byte, 1))
				require.NoError(b, err)
				worst = max(worst, time.Since(began))
				require.NoError(b, r.Close())
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/1e6, "MB-allocated")
		})
	}
}
