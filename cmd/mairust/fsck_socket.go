package main

import (
	"context"
	"encoding/json"
	"errors"
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
func (c *socketClient) fsck(ctx context.Context, q fsck.Request, tell func(fsck.Event)) (report *fsck.Report, err error) {
	err = streamed(ctx, c, "/admin/v1/fsck", q, func(e fsck.Event) (last bool, err error) {
		switch {
		case e.Error != "":
			return true, errors.New(e.Error)
		case e.Report != nil:
			report = e.Report
			return true, nil
		}
		tell(e)
		return false, nil
	})
	return report, err
}
