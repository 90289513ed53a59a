package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatWouldWaitForTheSameIsNotTriedAgain(t *testing.T) {
	job := func(tenant TenantID, mailbox MailboxID) *deliveryJob {
		return &deliveryJob{copies: []Copy{{Target: Target{Tenant: tenant, Mailbox: mailbox}}}}
	}
	var l lockedJobs
	require.False(t, l.has(job("a", "bob")))
	l.add(job("a", "bob"), ErrUnavailable)
	require.True(t, l.has(job("a", "bob")))
	require.False(t, l.has(job("a", "alice")), "it may be the mailbox")
	l.add(job("a", "alice"), ErrUnavailable)
	require.True(t, l.has(job("a", "eve")), "it is the tenant")
	require.False(t, l.has(job("b", "eve")))
	several := job("d", "ann")
	several.copies = append(several.copies, job("d", "bob").copies...)
	l.add(several, ErrUnavailable)
	require.False(t, l.has(job("d", "ann")), "it may be the other's")
	for n := range maxLocked - 3 {
		l.add(job(TenantID(rune('c'+n)), MailboxID(rune('c'+n))), ErrUnavailable)
	}
	require.True(t, l.has(job("z", "last")), "it is what all need")
}
