package main

import (
	"context"
	"net/netip"
	"strings"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/listen"
)

// buildIMAP builds the server for mail programs.
func (d *daemon) buildIMAP(logins *auth.Authenticator) error {
	o := d.config.IMAP
	server, err := imap.New(o, imap.Deps{
		Index: d.site.store, Objects: d.site.objects, Logins: logins, Suspect: d.fsck.Suspect,
		Log: d.log.With("component", "imap"), Registerer: d.registry, Version: buildVersion(),
	})
	if err != nil {
		return err
	}
	d.services = append(d.services, service{
		name: "imap", listen: o.Listeners, limits: o.Limits(), shutdown: server.Shutdown,
		serve: func(ctx context.Context, l *listen.Listener, o listen.Options) error {
			security := imap.Security{PlainLogin: staysOnHost(o.Address)}
			if o.TLS == listen.TLSStartTLS {
				security.StartTLS = l.TLSConfig()
			}
			return server.Serve(ctx, l, security)
		},
	})
	return nil
}

// staysOnHost says whether what is said to this address leaves the host.
func staysOnHost(address string) bool {
	kind, rest, _ := strings.Cut(address, ":")
	if kind == "unix" {
		return true
	}
	host := strings.Trim(rest[:max(strings.LastIndexByte(rest, ':'), 0)], "[]")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
