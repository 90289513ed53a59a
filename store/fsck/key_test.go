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

func TestWhatIsAMessageAndWhatIsAKey(t *testing.T) {
	const tenant = "01a215f0-ec59-7739-8fe1-99bdf8f4c65f"
	const box = tenant + "/01a215f0-ec59-7739-8fe1-99bdf8f4c65e/"
	const message = box + "01a215f0-ec59-7739-8fe1-99bdf8f4c65d"
	for key, is := range map[string][2]bool{
		message + ".eml": {true, false}, "orphan/" + message + ".eml": {false, false}, message + "/attachments/2": {false, false},
		tenant + "/keys/1.age": {false, true}, "orphan/" + tenant + "/keys/1.age": {false, false}, "installation/keys/1.age": {false, false},
		box + "mailbox.json": {false, false}, "stray": {false, false},
	} {
		require.Equal(t, is, [2]bool{fsck.IsMessage(key), fsck.IsTenantKey(key)}, key)
	}
}
