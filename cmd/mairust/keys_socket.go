package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/sqldb"
)

// keysBeat is how often an act on all keys tells how far it is.
const keysBeat = 30 * time.Second

// keysEvent is a line of what the daemon tells: how far it is, what is wrong, or what came of it.
type keysEvent struct {
	keysAnswer
	Progress *keysProgress `json:"progress,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// isLong says whether an act goes through all objects and keys.
func (q keysRequest) isLong() bool { return q.Act == "check" || q.Act == "rewrap" }

// doKeys does an act here, or in the daemon that has the SQLite database open.
func doKeys(ctx context.Context, c *config.Config, progress io.Writer, q keysRequest) (keysAnswer, error) {
	log := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelError}))
	site, err := openSite(ctx, c, openOptions{log: log})
	if errors.Is(err, sqldb.ErrLocked) {
		return askDaemonForKeys(ctx, c, progress, q)
	}
	if err != nil {
		return keysAnswer{}, err
	}
	var m keysMeter
	end := m.tellEvery(keysBeat, func(p keysProgress) { fmt.Fprintln(progress, p) })
	a, err := site.actOnKeys(ctx, onHost(), q, &m)
	end()
	return a, errors.Join(err, site.Close())
}

// askDaemonForKeys has the running daemon do an act.
func askDaemonForKeys(ctx context.Context, c *config.Config, progress io.Writer, q keysRequest) (a keysAnswer, err error) {
	recipients, err := operatorRecipients(c.Storage.Encryption)
	if err != nil {
		return a, err
	}
	q.Recipients = crypt.RecipientsCheck(recipients)
	return newSocketClient(c.AdminSocket()).keys(ctx, progress, q)
}

// keys has the daemon do an act.
func (c *socketClient) keys(ctx context.Context, progress io.Writer, q keysRequest) (a keysAnswer, err error) {
	err = streamed(ctx, c, "/admin/v1/keys", q, func(e keysEvent) (last bool, err error) {
		switch {
		case e.Error != "":
			return true, errors.New(e.Error)
		case e.Progress != nil:
			_, err = fmt.Fprintln(progress, e.Progress)
			return false, err
		}
		a = e.keysAnswer
		return true, nil
	})
	return a, err
}

// errStale says that the daemon would do an act with recipients that are not those of now.
var errStale = errors.New("the daemon was started with other storage.encryption.operator_recipients than the configuration has now: restart it first, " +
	"and all others that share the store")

// isStale gives errStale for acts that depend on the recipients, and for a command that has told its own.
func (d *daemon) isStale(q keysRequest) error {
	if q.Act == "list" || q.Act == "destroy" || q.Recipients == "" || d.site.keys.HasRecipients(q.Recipients) {
		return nil
	}
	return errStale
}

// maxKeysRequest is more than any request has.
const maxKeysRequest = 4096

// serveKeys does an act for a command. Of one that may take long it tells each beat how far it is, so that the connection is not taken for an idle one. It
// stops safely when the command goes away, and when the daemon stops.
func (d *daemon) serveKeys(stopping context.Context, beat time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q keysRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, maxKeysRequest)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var a keysAnswer
		err := d.isStale(q)
		switch {
		case q.Act == "operator" && d.config.Storage.Options.Encryption != config.EncryptClient:
			err = nil // it makes no keys: encryption is about to be turned on
		case err == nil && q.isLong():
			d.streamKeys(stopping, beat, w, r, q)
			return
		case err == nil:
			a, err = d.site.actOnKeys(r.Context(), peerActor(r.Context()), q, &keysMeter{})
		}
		if err != nil {
			d.log.Warn("keys", "act", q.Act, "tenant", q.Tenant, "err", err)
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // who asked is gone if it fails
	}
}

var errStopping = errors.New("the daemon is stopping: run it again when it is back; what was done stays")

// streamKeys does an act and streams an event a line, the last one with what came of it.
func (d *daemon) streamKeys(stopping context.Context, beat time.Duration, w http.ResponseWriter, r *http.Request, q keysRequest) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(stopping, cancel)()
	tell := streamEvents[keysEvent](w, cancel)
	var m keysMeter
	end := m.tellEvery(beat, func(p keysProgress) { tell(keysEvent{Progress: &p}) })
	a, err := d.site.actOnKeys(ctx, peerActor(ctx), q, &m)
	end()
	if err != nil {
		if stopping.Err() != nil {
			err = errStopping
		}
		d.log.Warn("keys", "act", q.Act, "tenant", q.Tenant, "err", err)
		tell(keysEvent{keysAnswer: keysAnswer{Wrong: 1, Summary: err.Error()}, Error: err.Error()}) // a command of before knows the answer alone
		return
	}
	tell(keysEvent{keysAnswer: a})
}
