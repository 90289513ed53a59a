package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mairust/mairust/store/fsck"
)

// eventPatience is how long a command may take to read one event.
const eventPatience = time.Minute

// maxFsckRequest is more than any request has.
const maxFsckRequest = 4096

// serveFsck does a check for a command, and streams what it finds, an event a line. It stops safely when the command goes
// away, and when the daemon stops.
func (d *daemon) serveFsck(stopping context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q fsck.Request
		if err := json.NewDecoder(io.LimitReader(r.Body, maxFsckRequest)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		tell := streamEvents[fsck.Event](w, cancel)
		d.log.Info("fsck", "component", "fsck", "repair", q.Repair, "rebuild", q.Rebuild, "verify_content", q.VerifyContent, "dry_run", q.DryRun)
		report, err := d.fsck.Check(ctx, q, tell)
		if err != nil {
			d.log.Error("fsck", "component", "fsck", "err", err)
			tell(fsck.Event{Error: err.Error()})
			return
		}
		d.log.Info("fsck ended", "component", "fsck", "found", report.Found, "mended", report.Mended, "left", report.Left,
			"interrupted", report.Interrupted, "took", report.Took)
		tell(fsck.Event{Report: &report})
	}
}

// streamEvents gives a function that sends an event as a line at once. cancel is called when nobody reads any more.
func streamEvents[E any](w http.ResponseWriter, cancel func()) func(E) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	control, out := http.NewResponseController(w), json.NewEncoder(w)
	return func(e E) {
		err := control.SetWriteDeadline(time.Now().Add(eventPatience))
		if err = errors.Join(err, out.Encode(e)); err == nil {
			err = control.Flush()
		}
		if err != nil {
			cancel()
		}
	}
}

// fsck has the daemon do a check.
func (c *socketClient) fsck(ctx context.Context, q fsck.Request, tell func(fsck.Event)) (*fsck.Report, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/admin/v1/fsck", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w (is the daemon running, and are you root or its user?)", c.path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return nil, errors.Join(problemError(resp.StatusCode, answer), err)
	}
	for in := json.NewDecoder(resp.Body); ; {
		var e fsck.Event
		switch err := in.Decode(&e); {
		case err != nil:
			return nil, fmt.Errorf("admin socket %s: the daemon went away: %w", c.path, err)
		case e.Error != "":
			return nil, errors.New(e.Error)
		case e.Report != nil:
			return e.Report, nil
		}
		tell(e)
	}
}
