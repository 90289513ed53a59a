package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// Postfix resolves a recipient before it follows virtual_alias_maps, so that its transport is lmtp even where mail goes on to another host.
func TestQuarantinedMailDoesNotLeaveThroughAnAlias(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{
				Backend: backend, Milter: "  rules: [{name: all, action: quarantine}]", Mailboxes: []string{"bob"},
			})
			daemon := site.start(t)
			site.run(t, "init", "--tenant", "example", "--domain", "example.test", "--alias-domain", "alias.test=example.test",
				"--alias", "info@example.test=bob@example.test", "--alias", "next@example.test=new@elsewhere.test", "--alias", "old@example.test=next@example.test")
			sink := labtest.LMTPSink(t, "")
			table := "socketmap:" + site.socket("lookup") + ":"
			postfix := labtest.Postfix(t, lab.PostfixOptions{
				Milter: site.socket("milter"), VirtualMailboxDomains: "example.test, alias.test",
				VirtualMailboxMaps: table + "mailboxes", VirtualTransport: "lmtp:" + site.socket("lmtp"),
				ExtraMain: map[string]string{
					"virtual_alias_maps":  table + "aliases, inline:{{own@example.test=new@elsewhere.test}}",
					"recipient_delimiter": "+",
					"transport_maps":      "inline:{{elsewhere.test=" + sink.Transport() + "}}",
				},
			})
			send := func(rcpts ...string) {
				t.Helper()
				r, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "a@sender.test", rcpts, []byte("Subject: x\r\n\r\nx\r\n"), lab.SendOptions{})
				require.NoError(t, err)
				require.True(t, r.Accepted(), "%v: %v", rcpts, r)
			}
			here := []string{"bob@example.test", "bob+x@example.test", "info@example.test", "info+x@alias.test"}
			for n, rcpt := range here {
				send(rcpt)
				waitFor(t, rcpt, func() bool { return len(daemon.messages(t, "bob@example.test", "Quarantine")) == n+1 })
			}
			away := []string{"old@example.test", "Old@alias.test", "next@example.test", "own@example.test", "own+x@example.test"}
			for _, rcpt := range away {
				send(rcpt)
			}
			send("bob@example.test", "old@example.test")
			held := 0
			waitFor(t, "all that goes elsewhere in the hold queue", func() bool {
				queue, err := postfix.Queue(t.Context())
				require.NoError(t, err)
				held = strings.Count(queue, `"queue_name": "hold"`)
				return held == len(away)+1 || len(sink.Transactions()) > 0
			})
			require.Empty(t, sink.Transactions(), "%d are held", held)
			require.Len(t, daemon.messages(t, "bob@example.test", ""), len(here))
		})
	}
}

func TestMailEndsHereInAMailboxAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		_, _, err := s.EnsureDomain(ctx, site.Tenant.ID, "alias.test", site.Domain.ID)
		require.NoError(t, err)
		address := func(text string) mail.Address {
			a, err := mail.ParseUnquoted(text)
			require.NoError(t, err)
			return a
		}
		for from, to := range map[string]string{"info@one.test": "bob@one.test", "old@one.test": "new@elsewhere.test"} {
			require.NoError(t, s.SetAlias(ctx, site.Tenant.ID, address(from), address(to), store.Beside{}))
		}
		d := &daemon{config: config.Default(), outbound: &outboundEngine{store: &lateStore{}}}
		_, err = d.delivers(ctx, address("bob@one.test"))
		require.ErrorIs(t, err, store.ErrUnavailable)
		d.outbound.store.store.Store(s)
		all := func(want bool, list ...string) {
			t.Helper()
			for _, text := range list {
				here, err := d.delivers(ctx, address(text))
				require.NoError(t, err, text)
				require.Equal(t, want, here, text)
			}
		}
		bob := []string{"bob@one.test", "Bob+x@one.test", "bob+x@alias.test", "info@one.test", "info+x@one.test", "info@alias.test"}
		all(true, bob...)
		all(false, "old@one.test", "old+x@one.test", "Old@alias.test", "old+x@alias.test", "nobody@one.test", "bob@elsewhere.test")
		require.NoError(t, s.SuspendTenant(ctx, site.Tenant.ID, true, store.Beside{}))
		all(true, bob...)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err = d.delivers(gone, address("old@one.test"))
		require.Error(t, err)
	})
}
