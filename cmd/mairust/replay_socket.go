package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// maxReplayRequest is more than any policy with its profiles has.
const maxReplayRequest = 4 << 20

// serveReplay replays for a command, and streams what comes out, an event a line. It ends when the command goes away, and when
// the daemon stops.
func (d *daemon) serveReplay(stopping context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q replayRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, maxReplayRequest)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		tell := streamEvents[replayEvent](w, cancel)
		log := d.log.With("component", "outbound")
		log.Info("replay", "from", q.From, "until", q.Until, "account", q.Account)
		if err := replay(ctx, d.site.store, q, tell); err != nil {
			log.Error("replay", "err", err)
			tell(replayEvent{Error: err.Error()})
			return
		}
		tell(replayEvent{Done: true})
	}
}

// replay has the daemon do it.
func (c *socketClient) replay(ctx context.Context, q replayRequest, tell func(replayEvent)) error {
	return streamed(ctx, c, "/admin/v1/outbound/replay", q, func(e replayEvent) (last bool, err error) {
		switch {
		case e.Error != "":
			return true, errors.New(e.Error)
		case e.Done:
			return true, nil
		}
		tell(e)
		return false, nil
	})
}
