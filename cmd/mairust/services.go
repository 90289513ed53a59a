package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/lmtp/lookup"
	"github.com/mairust/mairust/milter"
	"github.com/mairust/mairust/milter/rspamd"
	"github.com/mairust/mairust/store"
)

// milterLimits are those of a listener whose only client is Postfix: one address may take them all.
func milterLimits(o milter.Options) listen.Limits {
	return listen.Limits{
		MaxConnections: o.MaxConnections, MaxPerClient: cmp.Or(o.MaxPerClient, o.MaxConnections, 1000), Idle: time.Hour,
	}
}

func (d *daemon) buildMilter() error {
	o := d.config.Milter
	var err error
	if d.rules, err = newLiveRules(o.Rules); err != nil {
		return err
	}
	log := d.log.With("component", "milter")
	sources := []milter.Source{{Check: d.rules, First: true}}
	if o.Rspamd.URL != "" {
		client, err := rspamd.New(o.Rspamd, log)
		if err != nil {
			return err
		}
		sources = append(sources, milter.Source{Check: client, OnError: o.Rspamd.OnError})
	}
	if err := d.buildOutbound(); err != nil {
		return err
	}
	server, err := milter.New(o.Options, milter.Deps{
		Sources: sources, Outbound: milterOutbound{d.outbound.gate}, Delivers: d.delivers, MAC: d.scanMAC, Log: log, Registerer: d.registry,
		SpoolDir: spoolDir(d.config),
	})
	if err != nil {
		return err
	}
	d.services = append(d.services, service{
		name: "milter", listen: o.Listeners, limits: milterLimits(o.Options), shutdown: server.Shutdown,
		serve: func(ctx context.Context, l *listen.Listener, o listen.Options) error {
			return server.Serve(ctx, l, o.Role)
		},
	})
	return nil
}

// delivers tells whether mail for rcpt ends in a mailbox here, whatever aliases lead to it; a full one and that of a suspended tenant count.
// An address that is not known has no mailbox: who takes mail for it all the same sends it on by tables of their own.
func (d *daemon) delivers(ctx context.Context, rcpt mail.Address) (bool, error) {
	err := d.outbound.store.use(func(s *store.Store) error {
		_, err := s.Resolve(ctx, rcpt, recipientDelimiter(d.config))
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case errors.Is(err, store.ErrQuota), errors.Is(err, store.ErrSuspended):
		return true, nil
	}
	return err == nil, err
}

func (d *daemon) scanMAC(fields ...string) string { return d.site.ring.MAC(keyring.Scan, fields...) }

func (d *daemon) scanVerify(mac string, fields ...string) error {
	return d.site.ring.Verify(keyring.Scan, mac, fields...)
}

// soonBytes is the size up to which an object is stored within some milliseconds: on a disk, when it is small.
func soonBytes(c *config.Config) int64 {
	if c.Storage.Backend == config.BackendS3 || c.Storage.Previous != nil {
		return 0
	}
	return 64 << 10
}

// buildLMTP builds the delivery agent and the lookup beside it, which answers for the same recipients.
func (d *daemon) buildLMTP() error {
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	index := certainIndex{d.site.store, d.fsck}
	agent, err := lmtp.New(d.config.LMTP, lmtp.Deps{
		Index: index, Objects: d.site.objects, Verify: d.scanVerify, SpoolDir: spoolDir(d.config), Hostname: hostname,
		Log: d.log.With("component", "lmtp"), Registerer: d.registry, Delivered: d.site.delivered, SoonBytes: soonBytes(d.config),
	})
	if err != nil {
		return err
	}
	d.agent = agent
	if err := index.knowsSomebody(context.Background()); err != nil {
		d.log.Warn("no recipient is refused for good until there is a mailbox", "component", "lmtp", "err", err)
	}
	finder, err := lookup.New(d.config.Lookup, lookup.Deps{
		Index: d.site.store, RecipientDelimiter: recipientDelimiter(d.config), Uncertain: index.isUncertain,
		Log: d.log.With("component", "lookup"), Registerer: d.registry,
	})
	if err != nil {
		return err
	}
	d.services = append(d.services, service{
		name: "lmtp", listen: d.config.LMTP.Listeners, limits: d.config.LMTP.Limits(), shutdown: agent.Shutdown,
		serve: func(ctx context.Context, l *listen.Listener, o listen.Options) error {
			var config *tls.Config
			if o.TLS == listen.TLSStartTLS {
				config = l.TLSConfig()
			}
			return agent.Serve(ctx, l, config)
		},
	}, service{
		name: "lookup", listen: d.config.Lookup.Listeners, limits: d.config.Lookup.Limits(), shutdown: finder.Shutdown,
		serve: func(ctx context.Context, l *listen.Listener, _ listen.Options) error { return finder.Serve(ctx, l) },
	})
	return nil
}

// buildAPI builds the REST API with the Web UI beside it for the network and, with on-host commands beside it, for the admin socket.
func (d *daemon) buildAPI() error {
	log := d.log.With("component", "api")
	authenticator, err := auth.New(auth.Options{Store: d.site.store, Log: log, Registerer: d.registry})
	if err != nil {
		return err
	}
	office := admin.New(admin.Options{Store: d.site.store, RecipientDelimiter: recipientDelimiter(d.config)})
	sending, err := d.newOffice(office)
	if err != nil {
		return err
	}
	intake, err := d.newIntake(d.site.store)
	if err != nil {
		return err
	}
	server, err := api.New(d.config.HTTP, api.Deps{
		Store: d.site.index, Objects: d.site.objects, Attachments: d.site.attachments, Auth: authenticator, Keyring: d.site.ring,
		Admin: office, Outbound: sending, Bounces: admin.NewBounces(intake), Suspect: d.fsck.Suspect, Log: log, Registerer: d.registry, Version: buildVersion(),
	})
	if err != nil {
		return err
	}
	web, err := d.webHandler(server.Handler(), authenticator, sending)
	if err != nil {
		return err
	}
	if err := d.buildIMAP(authenticator); err != nil {
		return err
	}
	d.services = append(d.services,
		httpService("http", server.HTTPServer(web), d.config.HTTP.Listeners, d.config.HTTP.Limits()),
		d.adminService(server))
	return nil
}

// ownLimits are those of the HTTP listeners for operators.
var ownLimits = listen.Limits{Idle: 5 * time.Minute}

// httpService makes a service of an HTTP server.
func httpService(name string, server *http.Server, listeners []listen.Options, limits listen.Limits) service {
	return service{
		name: name, listen: listeners, limits: limits,
		serve: func(_ context.Context, l *listen.Listener, _ listen.Options) error {
			if err := server.Serve(l); err != http.ErrServerClosed {
				return err
			}
			return nil
		},
		shutdown: server.Shutdown,
	}
}

// adminService is the admin socket: the API, where root and the service's own user are super admins.
func (d *daemon) adminService(s *api.Server) service {
	mux := http.NewServeMux()
	mux.Handle("/", s.AdminHandler())
	mux.Handle("/health", d.health)
	mux.HandleFunc("POST /admin/v1/reload", d.serveReload)
	stopping, stop := context.WithCancel(context.Background())
	mux.HandleFunc("POST /admin/v1/fsck", d.serveFsck(stopping))
	mux.HandleFunc("POST /admin/v1/keys", d.serveKeys(stopping, keysBeat))
	mux.HandleFunc("POST /admin/v1/outbound/replay", d.serveReplay(stopping))
	server := s.HTTPServer(requirePeer(mux))
	server.BaseContext = nil // operators wait for nobody's pages
	server.RegisterOnShutdown(stop)
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return withPeer(ctx, c) }
	return httpService("admin", server, []listen.Options{{Address: "unix:" + d.config.AdminSocket(), SocketMode: "0600"}}, ownLimits)
}
