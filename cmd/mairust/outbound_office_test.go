package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/policy"
)

func TestAProcessWithoutTheMilterShowsAndTestsThePolicy(t *testing.T) {
	c := config.Default()
	dir := t.TempDir()
	c.DataDir, c.RunDir, c.Secrets.Keyring = dir, dir, "file:"+dir+"/keyring"
	c.Database.Path, c.Storage.Options.BasePath = dir+"/x.db", dir+"/mail"
	c.Milter.Rspamd.URL = "http://127.0.0.1:1" // away
	c.OutboundWhitelist = []policy.Profile{{ID: "letters", Accounts: []string{"news@example.test"}, MaxRate: "5000 msgs/hour"}}
	d := &daemon{config: c, roles: []role{roleServe}, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	d.sockets = listen.NewMetrics(d.registry)
	require.NoError(t, d.open(context.Background()))
	defer d.site.Close()
	office := admin.New(admin.Options{Store: d.site.store})
	_, err := office.Setup(t.Context(), onHost(), wire.Setup{Tenant: "example", Domains: []string{"example.test"}})
	require.NoError(t, err)
	o, err := d.newOffice(office)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.outbound.gate.Run(ctx) }()
	defer func() { cancel(); <-done }()

	p, err := o.Policy(t.Context(), onHost())
	require.NoError(t, err)
	require.Equal(t, "shadow", p.Mode)
	require.Contains(t, p.Settings, "auto_suspend: true\n")
	require.NotEmpty(t, p.Hash)
	require.Len(t, p.Profiles, 1)
	test := wire.OutboundTest{
		Account: "tanaka@example.test", Recipients: []string{"suzuki@sender.test"}, Message: []byte("Subject: x\n\nhello\n"), Client: "203.0.113.9",
	}
	var r wire.OutboundTestResult
	waitFor(t, "the domain is known", func() bool {
		r, err = o.Test(t.Context(), onHost(), test, admin.ExplainWish{Language: "ja"})
		return err == nil
	})
	require.Equal(t, "allow", r.Action)
	require.Equal(t, []string{"filter"}, r.Explanation.Degraded)
	require.Contains(t, r.Explanation.Text, "その時点で欠けていたもの：迷惑メールフィルター")
	test.Account = "tanaka@exmaple.test"
	_, err = o.Test(t.Context(), onHost(), test, admin.ExplainWish{})
	require.Error(t, err, "a slip of the pen")
	require.NoDirExists(t, dir+"/outbound", "the milter's files are the milter's")
}
