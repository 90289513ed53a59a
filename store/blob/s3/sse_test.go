package s3_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob/s3"
)

// TestWhatTheServerEncryptsLiesNowherePlain looks at the server's own disk, where objects lie that were put at once, in parts,
// and by copying.
func TestWhatTheServerEncryptsLiesNowherePlain(t *testing.T) {
	const words = "merger-of-the-two-houses"
	data := []byte(strings.Repeat(words+"\r\n", 1+(6<<20)/26))
	for encryption, says := range map[string]string{s3.SSES3: "AES256", s3.SSEKMS: "aws:kms", s3.None: ""} {
		t.Run(encryption, func(t *testing.T) {
			m := labtest.OwnMinIO(t, lab.MinIOOptions{})
			o := optionsOf(m)
			o.Encryption, o.Prefix, o.MultipartThresholdMB, o.MultipartChunkMB = encryption, "p/", 5, 5
			if encryption == s3.SSEKMS {
				o.KMSKeyID = m.KMSKey
			}
			b := open(t, o)
			for name, size := range map[string]int{"small": 5000, "large": 2 << 20, "parts": len(data)} {
				keys := []string{"t/" + name, "t/" + name + "-copy"}
				require.NoError(t, b.PutAll(t.Context(), keys, bytes.NewReader(data[:size]), int64(size)))
				require.NoError(t, b.Copy(t.Context(), keys[0], keys[0]+"-second"))
				for _, key := range append(keys, keys[0]+"-second") {
					name := o.Prefix + key
					head, err := bareSDK(o).client.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: &o.Bucket, Key: &name})
					require.NoError(t, err)
					require.Equal(t, says, string(head.ServerSideEncryption), key)
					got, err := get(t, b, key)
					require.NoError(t, err)
					require.True(t, bytes.Equal(data[:size], got), key)
				}
			}
			require.Equal(t, encryption == s3.None, liesSomewhere(t, m.Dir(), words))
		})
	}
}

// liesSomewhere looks for words in every file below a directory.
func liesSomewhere(t *testing.T, dir, words string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		found = found || bytes.Contains(raw, []byte(words))
		return err
	})
	require.NoError(t, err)
	return found
}
