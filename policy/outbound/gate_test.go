package outbound_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const suspended = "550 5.7.1 Sending from this account is temporarily suspended. Please contact your administrator."

func TestABlastIsCutAndTheAccountSuspendedReleasedAndSuspendedAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		site := storetest.NewSite(t, db, "one", "one.test")
		n := start(t, setup{options: enforce, db: db})
		eventually(t, "the domains are known", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("Tanaka@ONE.test", "192.0.2.7")
		left, refused := n.blast(e, 50)
		require.NotNil(t, refused)
		require.Equal(t, suspended, refused.String())
		require.Less(t, left, 60)

		scope := store.Scope{Tenant: site.Tenant.ID}
		var row *store.OutboundAccount
		eventually(t, "the stop is in the database", func() bool {
			var err error
			row, err = db.OutboundAccount(t.Context(), scope, "tanaka@one.test")
			return err == nil && row.Level == store.LevelHardLimit
		})
		require.Equal(t, "auto_suspend", row.Act)
		require.Equal(t, "engine", row.ActorKind)
		require.Equal(t, 1, told(t, db, notify.Suspended), "it is told in the same transaction")
		var decision *store.OutboundDecision
		eventually(t, "the decision that explains it", func() bool {
			var err error
			decision, err = db.OutboundDecision(t.Context(), scope, row.Decision)
			return err == nil
		})
		require.Equal(t, "hard_limit", decision.LevelAfter)
		require.NotEmpty(t, decision.Explanation)
		require.Equal(t, "192.0.2.7", decision.Client)
		records, err := policy.ParseRecords(decision.Event)
		require.NoError(t, err)
		require.NotEmpty(t, records)
		require.NotContains(t, n.log.String(), "password")

		// The other one of the domain goes on sending.
		require.Equal(t, 1, n.send(envelope("suzuki@one.test", "192.0.2.8"), "hello", 0, "a@x.test").left())

		change := row.Change("release")
		change.Level, change.Reason, change.ActorKind, change.Actor = store.LevelSoftLimit, "password changed", "user", "desk"
		_, err = db.ChangeOutboundAccount(t.Context(), change)
		require.NoError(t, err)
		eventually(t, "mail flows again", func() bool {
			return n.send(e, "Hello Suzuki, thank you for the report.", 0, "suzuki@one.test").left() == 1
		})
		left, refused = n.blast(e, 50)
		require.NotNil(t, refused, "the same campaign again suspends again, after %d", left)
		eventually(t, "it is in the database again", func() bool {
			row, err := db.OutboundAccount(t.Context(), scope, "tanaka@one.test")
			return err == nil && row.Level == store.LevelHardLimit
		})
	})
}

func TestShadowRecordsAndStopsNobodyButAStopByHandHolds(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{db: db}) // the default
		e := envelope("tanaka@one.test", "192.0.2.7")
		left, refused := n.blast(e, 20)
		require.Nil(t, refused)
		require.Equal(t, 100, left)
		require.Positive(t, n.metric("mairust_outbound_shadowed_total"))
		require.Zero(t, n.metric("mairust_outbound_level_changes_total"))
		require.Equal(t, 1, n.noticed(notify.Suspended), "what would have been is told, once")
		require.Zero(t, told(t, db, notify.Suspended))
		_, err := db.ChangeOutboundAccount(t.Context(), store.OutboundChange{
			Tenant: store.SystemTenant, Account: "tanaka@one.test", Act: "suspend", Level: store.LevelHardLimit, Reason: "phished", ActorKind: "user", Actor: "desk",
			Revision: revision(t, db, "tanaka@one.test"),
		})
		require.NoError(t, err)
		eventually(t, "the stop by hand holds", func() bool {
			r := n.send(e, "x", 0, "a@x.test")
			return r.mail != nil && r.mail.String() == suspended
		})
	})
}

// The mode of a first installation: what would have been done is told, once, and it is said that it was not done.
func TestShadowTellsWhatWouldHaveBeenDone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		texts := make(chan string, 100)
		hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var body struct{ Text string }
			_ = json.NewDecoder(r.Body).Decode(&body)
			texts <- body.Text
		}))
		defer hook.Close()
		n := start(t, setup{db: db})
		for language, want := range map[string][]string{
			"en": {"Sending would have been stopped: en@one.test\n", "Mode is shadow: nothing was done, mail goes on.\n"},
			"ja": {"送信停止に相当する状態です: ja@one.test\n", "shadow モードのため、実際の制限は行っていません。\n"},
		} {
			left, refused := n.blast(envelope(language+"@one.test", "192.0.2.7"), 20)
			require.Nil(t, refused)
			require.Equal(t, 100, left)
			require.Equal(t, 1, n.noticed(notify.Suspended))
			for _, notice := range n.takeNotices() {
				require.True(t, notice.Facts.Shadow)
				require.NoError(t, notify.Enqueue(t.Context(), db, notice))
			}
			notifier, err := notify.New(notify.Options{Language: language, Webhook: notify.WebhookOptions{URL: hook.URL, Format: "slack"}},
				notify.Deps{Store: db, Hostname: "mx.test"})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); notifier.Run(ctx) }()
			text := <-texts
			for _, line := range want {
				require.Contains(t, text, line)
			}
			eventually(t, "nothing waits", func() bool {
				due, err := db.DueNotices(ctx, 10)
				_, sends, waitErr := db.WaitingNotices(ctx)
				return err == nil && waitErr == nil && len(due) == 0 && sends == 0
			})
			cancel()
			<-ended
			require.Empty(t, texts, "once")
		}
	})
}

// revision is that of the account's row, 0 when there is none.
func revision(t testing.TB, db *store.Store, account string) int64 {
	t.Helper()
	row, err := db.OutboundAccount(t.Context(), store.System, account)
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	require.NoError(t, err)
	return row.Revision
}

func TestDomainStopModeAndProfileOfTheDatabaseHoldAtOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		site := storetest.NewSite(t, db, "one", "one.test")
		n := start(t, setup{options: policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 3}}, db: db})
		e := envelope("tanaka@one.test", "192.0.2.7")
		r := n.send(e, "x", 0, "a@x.test", "b@x.test", "c@x.test", "d@x.test")
		require.Equal(t, 3, r.accepted)
		require.Equal(t, "450 4.7.1 Sending rate limited, please try again later.", r.rcpt.String())

		_, _, err := db.SetOutboundProfile(t.Context(), store.OutboundProfileChange{Profile: store.OutboundProfile{Tenant: site.Tenant.ID, ID: "news", Accounts: []string{"tanaka@one.test"}, MaxRate: "100 msgs/hour"}, OutboundBy: store.OutboundBy{ActorKind: "user"}})
		require.NoError(t, err)
		eventually(t, "the profile lifts the limit", func() bool { return n.send(e, "x", 0, "a@x.test").left() == 1 })

		stop := store.DomainStop{Tenant: site.Tenant.ID, Domain: "one.test", Reason: "all phished"}
		require.NoError(t, db.StopDomain(t.Context(), stop, nil))
		eventually(t, "the domain is stopped", func() bool { return n.send(e, "x", 0, "a@x.test").mail != nil })
		require.NoError(t, db.ReleaseDomain(t.Context(), stop, nil))
		eventually(t, "the domain is released", func() bool { return n.send(e, "x", 0, "a@x.test").left() == 1 })

		require.NoError(t, db.SetOutboundMode(t.Context(), site.Tenant.ID, "off", store.OutboundBy{Reason: "test", ActorKind: "user", Actor: "desk"}, nil))
		eventually(t, "nobody is judged", func() bool {
			tx, reply := n.Mail(t.Context(), e)
			return tx == nil && reply == nil
		})
	})
}

func TestProfilesOfTheDatabaseThatClashDoNotHideWhatComesAfter(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		site := storetest.NewSite(t, db, "one", "one.test")
		for _, id := range []string{"a", "b"} {
			_, _, err := db.SetOutboundProfile(t.Context(), store.OutboundProfileChange{Profile: store.OutboundProfile{
				Tenant: site.Tenant.ID, ID: id, Accounts: []string{"news@one.test"}, MaxRate: "100 msgs/hour",
			}, OutboundBy: store.OutboundBy{ActorKind: "user"}})
			require.NoError(t, err)
		}
		n := start(t, setup{options: enforce, db: db})
		require.NoError(t, db.StopDomain(t.Context(), store.DomainStop{Tenant: site.Tenant.ID, Domain: "one.test", Reason: "all phished"}, nil))
		eventually(t, "the domain is stopped", func() bool {
			return n.send(envelope("tanaka@one.test", "192.0.2.7"), "x", 0, "a@x.test").mail != nil
		})
		_, inForce := n.InForce()
		profile, _ := inForce.Profile(string(site.Tenant.ID), "news@one.test")
		require.Equal(t, "a", profile.ID)
		require.Contains(t, n.log.String(), "is in a as well")
	})
}

func TestTheRowOfAnotherTenantDoesNotHideAStop(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		site := storetest.NewSite(t, db, "one", "one.test")
		n := start(t, setup{options: enforce, db: db})
		stop := store.OutboundChange{
			Tenant: site.Tenant.ID, Account: "tanaka@one.test", Act: "suspend", Level: store.LevelHardLimit, Reason: "phished", ActorKind: "user", Actor: "desk",
		}
		_, err := db.ChangeOutboundAccount(t.Context(), stop)
		require.NoError(t, err)
		old := stop
		old.Tenant, old.Act, old.Level = "t-old", "release", store.LevelNormal
		_, err = db.ChangeOutboundAccount(t.Context(), old)
		require.NoError(t, err)
		eventually(t, "the later row of the tenant before", func() bool {
			r := n.send(envelope("tanaka@one.test", "192.0.2.7"), "x", 0, "a@x.test")
			return r.mail != nil && r.mail.String() == suspended
		})
	})
}

func TestWhoseAMessageIs(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		one, two := storetest.NewSite(t, db, "one", "one.test"), storetest.NewSite(t, db, "Two", "two.test")
		n := start(t, setup{options: policy.Options{Mode: policy.Enforce, DefaultDomain: "one.test"}, db: db, own: outbound.Options{
			TrustedNetworks: []string{"10.0.0.0/8", "2001:db8::/32"},
			Tenants:         []outbound.TenantOptions{{Match: "10.1.0.0/16", Tenant: "two"}, {Match: "boss@one.test", Tenant: "TWO"}, {Match: "10.0.0.0/8", Tenant: "one"}},
		}})
		eventually(t, "the domains are known", func() bool { return n.Check(t.Context()) == nil })
		for _, row := range []struct {
			login, client, account string
			tenant                 store.TenantID
		}{
			{"Tanaka", "192.0.2.7", "tanaka@one.test", one.Tenant.ID},
			{"boss@one.test", "", "boss@one.test", two.Tenant.ID},
			{"a@unknown.test", "10.1.2.3", "a@unknown.test", store.SystemTenant},
			{"", "10.1.2.3", "10.1.2.3", two.Tenant.ID},
			{"", "::ffff:10.2.2.3", "10.2.2.3", one.Tenant.ID},
			{"", "2001:db8::7", "2001:db8::7", store.SystemTenant},
		} {
			require.Equal(t, 1, n.send(envelope(row.login, row.client), "x", 0, "a@x.test").left())
			eventually(t, row.account, func() bool {
				a, err := db.OutboundAccount(t.Context(), store.Scope{Tenant: row.tenant}, row.account)
				return err == nil && a.Account == row.account
			})
		}
		tx, reply := n.Mail(t.Context(), envelope("", "192.0.2.7"))
		require.Nil(t, reply)
		require.Nil(t, tx, "a stranger is not judged by the outbound engine")
		require.True(t, n.Trusts(envelope("", "10.9.9.9").Client.Addr))
		require.False(t, n.Trusts(envelope("", "11.9.9.9").Client.Addr))
	})
}

func TestWhatIsNotCommittedIsReleased(t *testing.T) {
	t.Parallel()
	limits := policy.LimitOptions{UserPerHour: 4, DomainPerHour: 6}
	n := start(t, setup{options: policy.Options{Mode: policy.Enforce, Limits: limits}})
	e := envelope("tanaka@one.test", "192.0.2.7")
	for range 20 {
		tx, reply := n.Mail(t.Context(), e)
		require.Nil(t, reply)
		for range 4 {
			require.Nil(t, tx.Recipient(t.Context(), address("a@x.test")))
		}
		tx.Release()
		tx.Release() // Postfix aborts after everything
	}
	require.Equal(t, 4, n.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test", "a@x.test").left())
	require.Zero(t, n.send(e, "x", 0, "a@x.test").left())
	require.Equal(t, 2, n.send(envelope("suzuki@one.test", ""), "x", 0, "a@x.test", "b@x.test", "c@x.test").left(), "6 of the domain")
}

func TestEachEventOfALongMessageIsInARow(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{db: db})
		sent := 0
		for count := 800; count <= 1000; count += 40 {
			to := make([]string, count)
			for i := range to {
				to[i] = fmt.Sprintf("v%d@far.test", i)
			}
			require.Equal(t, count, n.send(envelope("tanaka@one.test", "192.0.2.7"), "x", 0, to...).left())
			sent += 1 + count + 1
		}
		eventually(t, "each event once", func() bool {
			rows, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 1000})
			require.NoError(t, err)
			seen := map[uint64]bool{}
			for i := range rows {
				records, err := policy.ParseRecords(rows[i].Event)
				require.NoError(t, err)
				for _, r := range records {
					require.False(t, seen[r.Seq])
					seen[r.Seq] = true
				}
			}
			return len(seen) == sent
		})
	})
}

func TestASoftLimitCanHold(t *testing.T) {
	t.Parallel()
	o := policy.Options{Mode: policy.Enforce, SoftLimit: policy.SoftLimitOptions{Action: "hold", PerHour: 2}}
	n := start(t, setup{options: o})
	e := envelope("tanaka@one.test", "192.0.2.7")
	held := 0
	for range 30 {
		r := n.send(e, phish, 3, nextQueueID()+"@x.test", nextQueueID()+"@y.test", nextQueueID()+"@z.test")
		require.Nil(t, r.rcpt)
		require.Nil(t, r.end)
		if r.hold {
			held++
		}
	}
	require.Positive(t, held)
}

func TestOtherSettingsHoldAtOnceAndBadOnesChangeNothing(t *testing.T) {
	t.Parallel()
	n := start(t, setup{options: enforce})
	e := envelope("tanaka@one.test", "192.0.2.7")
	require.Equal(t, 2, n.send(e, "x", 0, "a@x.test", "b@x.test").left())
	require.Error(t, n.Configure(policy.Options{Mode: "sometimes"}, outbound.Options{}, nil))
	require.Error(t, n.Configure(enforce, outbound.Options{TrustedNetworks: []string{"everybody"}}, nil))
	require.Equal(t, policy.Enforce, n.Mode())
	require.NoError(t, n.Configure(policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 2}}, outbound.Options{}, nil))
	require.Equal(t, 0, n.send(e, "x", 0, "c@x.test").left())
	require.NoError(t, n.Configure(policy.Options{Mode: policy.Off}, outbound.Options{}, nil))
	tx, reply := n.Mail(context.Background(), e)
	require.Nil(t, tx)
	require.Nil(t, reply)
}

func TestRefusedAndBouncedRecipientsAreEvidence(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		e := envelope("tanaka@one.test", "192.0.2.7")
		tx, _ := n.Mail(t.Context(), e)
		for i := range 5 {
			tx.Refused(t.Context(), address("nobody"+string(rune('a'+i))+"@x.test"), "5.1.1")
			tx.Refused(t.Context(), address("full@x.test"), "4.2.2")
			tx.Refused(t.Context(), address("relay@x.test"), "5.7.1")
			for _, aboutSender := range []string{"5.1.0", "5.1.7", "5.1.8"} {
				tx.Refused(t.Context(), address("other"+string(rune('a'+i))+"@x.test"), aboutSender)
			}
		}
		tx.Release()
		require.Equal(t, 1, n.send(e, "x", 0, "gone@x.test").left())
		var rows []store.OutboundDecision
		eventually(t, "both rows", func() bool {
			var err error
			rows, err = db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 10})
			require.NoError(t, err)
			return len(rows) == 2
		})
		require.EqualValues(t, 5, rows[1].Refused)
		sent := rows[0]
		require.NoError(t, n.Bounce(t.Context(), "mx1", sent.QueueID, sent.At, "5.1.1", "gone@x.test"))
		require.NoError(t, n.Bounce(t.Context(), "mx1", sent.QueueID, sent.At, "5.2.2", "gone@x.test"))
		require.ErrorIs(t, n.Bounce(t.Context(), "mx1", sent.QueueID, sent.At.Add(-2*time.Hour), "5.1.1", "gone@x.test"), store.ErrNotFound, "of an earlier message of that id")
		require.ErrorIs(t, n.Bounce(t.Context(), "mx1", "unknown", sent.At, "5.1.1", "gone@x.test"), store.ErrNotFound)
		eventually(t, "the bounce", func() bool {
			rows, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 10})
			require.NoError(t, err)
			return len(rows) == 3 && rows[0].Kind == "bounce" && rows[0].Bounced == 1
		})
	})
}
