package main

import (
	"net/http"

	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/ui"
)

// webHandler is what browsers and programs see on one listener: the REST API below /api/, the Web UI elsewhere.
func (d *daemon) webHandler(api http.Handler, authenticator *auth.Authenticator, outbound *admin.Outbound) (http.Handler, error) {
	pages, err := ui.New(ui.Options{PublicURL: d.config.HTTP.PublicURL}, ui.Deps{
		Store: d.site.index, Objects: d.site.objects, Attachments: d.site.attachments, Auth: authenticator, Keyring: d.site.ring,
		Log: d.log.With("component", "ui"), Registerer: d.registry, Watch: d.watch, Outbound: outbound, Suspect: d.fsck.Suspect,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", api)
	mux.Handle("/", pages.Handler())
	return mux, nil
}
