package imap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

// filesBucket writes objects without flushing them: filling a mailbox for a benchmark needs no power cut.
type filesBucket struct {
	*blob.FS
	base string
}

func (b filesBucket) write(key, raw string) error {
	name := filepath.Join(b.base, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(raw), 0o600)
}

// BenchmarkBesideDovecot lets a client do the same with MaiRust (SQLite, files) and with Dovecot (maildir), both
// on this machine and over the same messages, and tells the times of each and their ratio. The first run of each is
// told too: then caches are empty. IMAP_BENCH_MESSAGES is how many messages there are, 10,000 unless it is set.
func BenchmarkBesideDovecot(b *testing.B) {
	n := 10_000
	if text := os.Getenv("IMAP_BENCH_MESSAGES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	raws := wellFormed(n)
	base := b.TempDir()
	fs, err := blob.NewFS(base, blob.FSOptions{})
	require.NoError(b, err)
	x := newSiteOn(b, store.New(store.Options{DB: storetest.OpenDB(b, storetest.Options(b, "sqlite"))}), filesBucket{fs, base}, "bob")
	x.deliver(b, "bob", store.Inbox, raws...)
	ours, theirs := x.login(b, "bob"), dovecot(b, raws)
	for _, row := range []struct{ name, command string }{
		{"EXAMINE", "EXAMINE INBOX"},
		{"newest 50", fmt.Sprintf("FETCH %d:%d (UID FLAGS RFC822.SIZE ENVELOPE)", max(n-49, 1), n)},
		{"ENVELOPE of all", "FETCH 1:* (ENVELOPE)"},
		{"1,000 bodies", fmt.Sprintf("FETCH 1:%d (BODY.PEEK[])", min(1000, n))},
		{"SEARCH SUBJECT", "SEARCH SUBJECT 777"},
		{"all flags", "FETCH 1:* (UID FLAGS)"},
	} {
		b.Run(strings.ReplaceAll(row.name, " ", "_"), func(b *testing.B) {
			var sum [2]time.Duration
			for i := range max(b.N, 2) {
				var once [2]time.Duration
				for j, w := range []*wire{ours, theirs} {
					once[j] = w.timed(row.command)
				}
				if i == 0 {
					b.Logf("%s, first: ours %s, Dovecot %s", row.name, once[0], once[1])
					continue
				}
				sum[0], sum[1] = sum[0]+once[0], sum[1]+once[1]
			}
			b.ReportMetric(float64(sum[0].Microseconds())/float64(max(b.N, 2)-1), "ours-µs")
			b.ReportMetric(float64(sum[1].Microseconds())/float64(max(b.N, 2)-1), "dovecot-µs")
			b.ReportMetric(float64(sum[0])/float64(sum[1]), "ratio")
		})
	}
}

// timed sends a command and reads until its end, without looking at what comes.
func (w *wire) timed(command string) time.Duration {
	w.t.Helper()
	w.n++
	tag := fmt.Sprintf("t%d", w.n)
	began := time.Now()
	w.send("%s %s\r\n", tag, command)
	for end := tag + " "; ; {
		line, err := w.r.ReadSlice('\n')
		if err != nil && len(line) == 0 {
			require.NoError(w.t, err)
		}
		if strings.HasPrefix(string(line[:min(len(line), len(end))]), end) {
			require.Contains(w.t, string(line), tag+" OK")
			return time.Since(began)
		}
	}
}
