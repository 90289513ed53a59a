package fsck_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/fsck"
)

func TestWhatIsReplacedAndWhatIsPutOnce(t *testing.T) {
	const box = "01a215f0-ec59-7739-8fe1-99bdf8f4c65f/01a215f0-ec59-7739-8fe1-99bdf8f4c65e/"
	for key, replaced := range map[string]bool{
		box + "mailbox.json": true, "installation/database.json": true,
		box + "01a215f0-ec59-7739-8fe1-99bdf8f4c65d.eml": false, "archive/" + box + "mailbox.json": false,
		box[:36] + "/tenant.json": true, box[:36] + "/other.json": false,
		"orphan/" + box + "mailbox.json": false, "stray": false,
	} {
		require.Equal(t, replaced, fsck.IsReplaced(key), key)
	}
}
