package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatWouldWaitForTheSameIsNotTriedAgain(t *testing.T) {
	to := func(tenant TenantID, mailbox MailboxID) Target { return Target{Tenant: tenant, Mailbox: mailbox} }
	var l lockedCopies
	require.False(t, l.has(to("a", "bob")))
	l.add(to("a", "bob"), ErrUnavailable)
	require.True(t, l.has(to("a", "bob")))
	require.False(t, l.has(to("a", "alice")), "it may be the mailbox")
	l.add(to("a", "alice"), ErrUnavailable)
	require.True(t, l.has(to("a", "eve")), "it is the tenant")
	require.False(t, l.has(to("b", "eve")))
	for n := range maxLocked - 2 {
		l.add(to(TenantID(rune('c'+n)), MailboxID(rune('c'+n))), ErrUnavailable)
	}
	require.True(t, l.has(to("z", "last")), "it is what all need")
}
