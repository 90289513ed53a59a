package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/storetest"
)

// TestOldDumpAfterTheOperatorsKeyChanged changes the key as docs/encryption.md says, and brings the database's keys of before back.
func TestOldDumpAfterTheOperatorsKeyChanged(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			here := newEncryptedSite(t, backend, "bob")
			daemon := here.start(t)
			replies, err := here.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage("before"))
			require.NoError(t, err)
			require.True(t, replies.Accepted())
			require.NoError(t, daemon.terminate(t))
			var dump []store.TenantKey
			here.open(t, func(s *site) { dump, err = s.store.AllTenantKeys(t.Context()) })
			require.NoError(t, err)
			require.Len(t, dump, 1)

			old, err := os.ReadFile(here.operatorFile)
			require.NoError(t, err)
			next, recipient, err := crypt.NewOperator(time.Now())
			require.NoError(t, err)
			config, err := os.ReadFile(here.configFile)
			require.NoError(t, err)
			_, after, found := strings.Cut(string(config), "operator_recipients: [")
			require.True(t, found)
			before, _, found := strings.Cut(after, "]")
			require.True(t, found)
			here.change(t, before, recipient)
			refused, err := here.command(t.Context(), "keys", "rewrap").CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Contains(t, string(refused), "nothing was changed", "the new private key is not there")
			require.NoError(t, os.WriteFile(here.operatorFile, append(old, next...), 0o600))
			require.Contains(t, here.run(t, "keys", "rewrap"), "1 keys encrypted anew")
			require.NoError(t, os.WriteFile(here.operatorFile, []byte(next), 0o600))

			here.open(t, func(s *site) {
				require.NoError(t, s.store.RewrapTenantKey(t.Context(), dump[0].Tenant, dump[0].ID, dump[0].Wrapped))
			})
			daemon = here.start(t)
			list := daemon.messages(t, "bob@example.test", store.Inbox)
			require.Len(t, list, 1)
			require.Contains(t, string(daemon.raw(t, list[0].ID)), secretWords, "the copy beside the objects is enough")
			require.NoError(t, daemon.terminate(t))
			require.Contains(t, here.run(t, "keys", "check", "--repair"), "1 keys checked, 1 mended, 0 wrong")
			require.Contains(t, here.run(t, "keys", "check"), "1 keys checked, 0 mended, 0 wrong")
		})
	}
}
