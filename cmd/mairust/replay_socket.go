package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/admin/v1/outbound/replay", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("admin socket %s: %w (is the daemon running, and are you root or its user?)", c.path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return errors.Join(problemError(resp.StatusCode, answer), err)
	}
	for in := json.NewDecoder(resp.Body); ; {
		var e replayEvent
		switch err := in.Decode(&e); {
		case err != nil:
			return fmt.Errorf("admin socket %s: the daemon went away: %w", c.path, err)
		case e.Error != "":
			return errors.New(e.Error)
		case e.Done:
			return nil
		}
		tell(e)
	}
}
