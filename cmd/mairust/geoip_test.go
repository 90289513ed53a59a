package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/geoip/geoiptest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// accustomed gives an account the state of one that has sent from a client for ten days, up to yesterday.
func (s *testSite) accustomed(t *testing.T, account, client, country string) {
	t.Helper()
	p, err := policy.Compile(policy.Options{}, nil)
	require.NoError(t, err)
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-time.Minute) // every hour of the day, so that none is unusual
	place := policy.Place{Country: country, Network: policy.NetworkOf(netip.MustParseAddr(client))}
	var st policy.State
	for h := 240; h > 0; h-- {
		for _, e := range []policy.Event{
			{Kind: policy.KindMail}, {Kind: policy.KindReserve, Recipients: []uint64{1}},
			{Kind: policy.KindCommit, Recipients: []uint64{1}, Content: policy.Content{Fingerprint: uint64(h), SpamKnown: true}},
		} {
			e.Account, e.Transaction, e.Place = policy.Account(account), uint64(h), place
			_, st = policy.Decide(st, e, p, at.Add(-time.Duration(h)*time.Hour).UnixMicro())
		}
	}
	raw, err := st.AppendBinary(nil)
	require.NoError(t, err)
	s.open(t, func(open *site) {
		tenant, err := open.store.TenantByName(t.Context(), "example")
		require.NoError(t, err)
		require.NoError(t, open.store.SaveOutboundStates(t.Context(), []store.OutboundState{
			{Tenant: tenant.ID, Kind: store.StateOfAccount, Name: account, State: raw, Updated: at},
		}))
	})
}

// submitFrom sends a message as a login, as if from a client.
func submitFrom(t *testing.T, postfix *lab.Postfix, login, client, subject string) *lab.Replies {
	t.Helper()
	r, err := lab.SMTPSend(t.Context(), postfix.SubmissionAddr, login+"@example.test", []string{"friend@far.test"},
		[]byte("Subject: "+subject+"\r\nFrom: "+login+"@example.test\r\n\r\n"+subject+" "+client+"\r\n"),
		lab.SendOptions{Username: login, Password: "pw", XClient: map[string]string{"ADDR": client}})
	require.NoError(t, err)
	return r
}

// explained is the explanation of the latest message from a client, once it is written.
func (p *process) explained(t *testing.T, account, client, language string) (x wire.OutboundExplanation) {
	t.Helper()
	var latest wire.OutboundDecision
	waitFor(t, "the decision about mail from "+client, func() bool {
		_, body, err := p.get("/api/v1/outbound/accounts/" + account + "/decisions?limit=5")
		require.NoError(t, err)
		var page wire.List[wire.OutboundDecision]
		require.NoError(t, json.Unmarshal(body, &page), "%s", body)
		for _, d := range page.Data {
			if d.Client == client && d.On == "end" {
				latest = d
				return true
			}
		}
		return false
	})
	req, err := http.NewRequest(http.MethodGet, p.http+"/api/v1/outbound/accounts/"+account+"/explain?decision="+url.QueryEscape(latest.ID), nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+p.site.key)
	req.Header.Set("Accept-Language", language)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&x))
	require.Equal(t, x.Country, latest.Country)
	return x
}

// partError is what /health says of a part that does not stop mail.
func (p *process) partError(t *testing.T, part string) string {
	t.Helper()
	resp, err := http.Get(p.ops + "/health")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "mail flows")
	var report healthReport
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&report))
	return report.Parts[part].Error
}

// Two networks of one country are nearly familiar, another country is evidence and is told by its name. The file is replaced and
// broken under the running daemon, and what was decided can be replayed all the same.
func TestMailIsJudgedByTheCountryItComesFrom(t *testing.T) {
	const home, sameCountry, abroad = "198.51.100.7", "203.0.113.7", "192.0.2.7"
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			path := filepath.Join(labtest.ShortDir(t), "country.mmdb")
			world := map[string]string{"198.51.100.0/24": "JP", "203.0.113.0/24": "JP", "192.0.2.0/24": "NG"}
			geoiptest.MaxMind.Put(t, path, time.Now(), world)
			site := newTestSite(t, siteOptions{
				Backend: backend, Mailboxes: []string{"bob"}, Extra: "outbound: {mode: enforce, default_domain: example.test, geoip: " + path + "}\n",
			})
			site.accustomed(t, "bob@example.test", home, "")
			require.Contains(t, site.check(t), "PASS  geoip          GeoLite2-Country of "+time.Now().UTC().Format(time.DateOnly)+", 0.0 MB")
			daemon := site.start(t)
			postfix := labtest.Postfix(t, lab.PostfixOptions{Milter: site.socket("milter"), Users: map[string]string{"bob": "pw"}})
			place := func(x wire.OutboundExplanation) wire.OutboundEvidence {
				for _, e := range x.Evidence {
					if e.Name == "place" {
						return e
					}
				}
				return wire.OutboundEvidence{}
			}

			require.True(t, submitFrom(t, postfix, "bob", home, "one").Accepted())
			x := daemon.explained(t, "bob@example.test", home, "en")
			require.Equal(t, "JP", x.Country)
			require.Zero(t, place(x).Value, "the same network, though its country was not known: %s", x.Text)
			require.True(t, submitFrom(t, postfix, "bob", sameCountry, "two").Accepted())
			same := place(daemon.explained(t, "bob@example.test", sameCountry, "en"))
			require.Equal(t, "network", same.Kind)
			require.True(t, submitFrom(t, postfix, "bob", abroad, "three").Accepted())
			x = daemon.explained(t, "bob@example.test", abroad, "en")
			require.Equal(t, "country", place(x).Kind)
			require.Greater(t, place(x).Value, same.Value)
			require.Contains(t, x.Text, "This is the first mail of this account from Nigeria (NG).")
			require.Contains(t, daemon.explained(t, "bob@example.test", abroad, "ja").Text, "このアカウントのナイジェリア (NG)からの送信は初めてです。")

			geoiptest.IPinfo.Put(t, path, time.Now(), map[string]string{"192.0.2.0/24": "BR"})
			waitFor(t, "the new file", func() bool { return strings.Contains(daemon.tail(500), "ipinfo lite") })
			require.True(t, submitFrom(t, postfix, "bob", "192.0.2.8", "four").Accepted())
			require.Equal(t, "BR", daemon.explained(t, "bob@example.test", "192.0.2.8", "en").Country)

			require.NoError(t, os.WriteFile(path, []byte("<html>over quota</html>"), 0o600))
			waitFor(t, "the complaint", func() bool { return strings.Contains(daemon.partError(t, "outbound"), "outbound.geoip: "+path) })
			require.Contains(t, site.check(t), "FAIL  geoip          outbound.geoip: "+path+": not a database of countries")
			require.True(t, submitFrom(t, postfix, "bob", "192.0.2.9", "five").Accepted())
			require.Equal(t, "BR", daemon.explained(t, "bob@example.test", "192.0.2.9", "en").Country)

			site.change(t, path, path+".none")
			out, err := site.command(t.Context(), "reload").CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "outbound.geoip: open "+path+".none: no such file")
			site.change(t, path+".none", path)

			require.NoError(t, os.Remove(path))
			require.NoError(t, daemon.terminate(t))
			daemon = site.start(t)
			require.Contains(t, daemon.tail(500), "no country is known")
			require.True(t, submitFrom(t, postfix, "bob", "198.51.100.8", "six").Accepted(), "mail flows without the file")
			x = daemon.explained(t, "bob@example.test", "198.51.100.8", "en")
			require.Empty(t, x.Country)
			require.Equal(t, []string{"JP", "NG", "BR"}, place(x).Countries, "what was known of the places before stays: %s", x.Text)

			var r replayed
			waitFor(t, "all decisions", func() bool { r = site.replay(t); return r.Decisions >= 6*3 })
			assert.Equal(t, r.Own, r.Reproduced)
			assert.Equal(t, r.Decisions, r.Own)
			assert.Zero(t, r.Differ)
			assert.Zero(t, r.Missing)
		})
	}
}
