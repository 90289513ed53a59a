package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/storetest"
)

func TestEncryptedMailInS3(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			bucket := newBucketSite(t, labtest.MinIO(t))
			file, recipient, err := crypt.NewOperator(time.Now())
			require.NoError(t, err)
			operator := filepath.Join(t.TempDir(), "operator.key")
			require.NoError(t, os.WriteFile(operator, []byte(file), 0o600))
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob", "hanako"}, Extra: fmt.Sprintf(
				"storage: {backend: s3, options: %s, encryption: {operator_recipients: [%s], operator_identity: %q}}\n",
				bucket.options(", encryption: client"), recipient, "file:"+operator)})
			daemon := site.start(t)
			sent := secretMessage("in the bucket")
			replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test", "hanako@example.test"}, sent)
			require.NoError(t, err)
			require.True(t, replies.Accepted(), "%+v", replies)
			for _, mailbox := range []string{"bob@example.test", "hanako@example.test"} {
				list := daemon.messages(t, mailbox, "")
				require.Len(t, list, 1)
				assert.Equal(t, "in the bucket", list[0].Subject)
				assert.Contains(t, string(daemon.raw(t, list[0].ID)), secretWords)
				body, err := daemon.getOK("/api/v1/messages/" + list[0].ID + "/attachments/2")
				require.NoError(t, err)
				assert.Equal(t, secretWords+" attached", string(body))
			}
			waitFor(t, "the decoded copies and their rows", func() bool { return daemon.metricOf(`mairust_attachment_copies_total{result="made"}`) == 2 })
			keys := bucket.messages(t)
			require.Len(t, keys, 2)
			for _, key := range keys {
				r, _, err := bucket.direct.Get(t.Context(), key, 0, 60)
				require.NoError(t, err)
				begin := make([]byte, 40)
				_, err = r.Read(begin)
				require.NoError(t, err)
				require.NoError(t, r.Close())
				assert.Contains(t, string(begin), "age-encryption.org/v1\n-> mairust 1")
			}
			assert.Contains(t, site.run(t, "fsck", "--verify-content", "--min-age", "0s"), "all is well")
			assert.Contains(t, site.run(t, "keys", "check"), "1 keys checked, 0 mended, 0 wrong")
		})
	}
}
