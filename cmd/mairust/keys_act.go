package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/sqldb"
)

// keysRequest is an act of mairust keys on the keys of tenants.
type keysRequest struct {
	// Act is list, rotate, destroy, check, rewrap or operator, which compares the operator's recipients alone.
	Act string `json:"act"`
	// Recipients tell the recipients in the configuration of who asks from others (crypt.RecipientsCheck).
	Recipients string `json:"recipients,omitempty"`
	// Tenant is a tenant's name; empty means all, where an act allows that.
	Tenant string `json:"tenant,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	Repair bool   `json:"repair,omitempty"`
}

// keysAnswer is what came of it.
type keysAnswer struct {
	Keys []keyLine `json:"keys"`
	// Wrong is how many keys are not as they should be.
	Wrong int `json:"wrong"`
	// Summary is a sentence for people.
	Summary string `json:"summary"`
}

type keyLine struct {
	Tenant    string    `json:"tenant"`
	TenantID  string    `json:"tenant_id"`
	ID        string    `json:"id"`
	Recipient string    `json:"recipient"`
	Created   time.Time `json:"created"`
	// State is current, old, destroyed, or what is wrong, in words.
	State string `json:"state"`
}

var (
	errNoKeys   = errors.New("encryption is not set up: storage.options.encryption is none, there is no storage.encryption.operator_identity, and no tenant has a key")
	errNoTenant = errors.New("there is no such tenant")
)

// doKeys does an act here, or in the daemon that has the SQLite database open.
func doKeys(ctx context.Context, c *config.Config, progress io.Writer, q keysRequest) (keysAnswer, error) {
	log := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelError}))
	site, err := openSite(ctx, c, openOptions{log: log})
	if errors.Is(err, sqldb.ErrLocked) {
		return askDaemonForKeys(ctx, c, q)
	}
	if err != nil {
		return keysAnswer{}, err
	}
	a, err := site.actOnKeys(ctx, onHost(), q)
	return a, errors.Join(err, site.Close())
}

// askDaemonForKeys has the running daemon do an act.
func askDaemonForKeys(ctx context.Context, c *config.Config, q keysRequest) (a keysAnswer, err error) {
	recipients, err := operatorRecipients(c.Storage.Encryption)
	if err != nil {
		return a, err
	}
	q.Recipients = crypt.RecipientsCheck(recipients)
	return a, newSocketClient(c.AdminSocket()).call(ctx, http.MethodPost, "/admin/v1/keys", q, &a)
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

// serveKeys does an act for a command.
func (d *daemon) serveKeys(w http.ResponseWriter, r *http.Request) {
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
	case err == nil:
		a, err = d.site.actOnKeys(r.Context(), peerActor(r.Context()), q)
	}
	if err != nil {
		d.log.Warn("keys", "act", q.Act, "tenant", q.Tenant, "err", err)
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // who asked is gone if it fails
}

// actOnKeys does an act. What changes keys is audited.
func (s *site) actOnKeys(ctx context.Context, who auth.Principal, q keysRequest) (keysAnswer, error) {
	if used, err := s.usesKeys(ctx); err != nil || !used {
		return keysAnswer{}, cmp.Or(err, errNoKeys)
	}
	var tenant *store.Tenant
	if q.Tenant != "" {
		var err error
		tenant, err = s.store.TenantByName(ctx, q.Tenant)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%w: %s", errNoTenant, q.Tenant)
		}
		if err != nil {
			return keysAnswer{}, err
		}
	}
	switch {
	case q.Act == "list":
		return s.listKeys(ctx, tenant)
	case q.Act == "operator":
		return s.compareOperator(ctx)
	case q.Act == "check":
		return s.checkKeys(ctx, tenant, q.Repair)
	case q.Act == "rewrap":
		return s.rewrapKeys(ctx, who, tenant)
	case q.Act == "rotate" && tenant != nil:
		return s.rotateKey(ctx, who, tenant)
	case q.Act == "destroy" && tenant != nil:
		return s.destroyKeys(ctx, who, tenant, q.DryRun)
	}
	return keysAnswer{}, fmt.Errorf("unknown act %.20q, or no tenant", q.Act)
}

// keyRows reads the keys of a tenant, nil meaning all, with a line for each.
func (s *site) keyRows(ctx context.Context, tenant *store.Tenant) ([]store.TenantKey, []keyLine, error) {
	names, err := s.store.TenantNames(ctx)
	if err != nil {
		return nil, nil, err
	}
	var rows []store.TenantKey
	if tenant != nil {
		rows, err = s.store.TenantKeys(ctx, tenant.ID)
	} else {
		rows, err = s.store.AllTenantKeys(ctx)
	}
	lines := make([]keyLine, 0, len(rows))
	current := map[store.TenantID]int{}
	for i, k := range rows {
		line := keyLine{Tenant: names[k.Tenant], TenantID: string(k.Tenant), ID: k.ID, Recipient: k.Recipient, Created: k.Created, State: "destroyed"}
		if k.Destroyed.IsZero() {
			if before, ok := current[k.Tenant]; ok {
				lines[before].State = "old"
			}
			line.State, current[k.Tenant] = "current", i
		}
		lines = append(lines, line)
	}
	return rows, lines, err
}

func (s *site) listKeys(ctx context.Context, tenant *store.Tenant) (keysAnswer, error) {
	_, lines, err := s.keyRows(ctx, tenant)
	return keysAnswer{Keys: lines, Summary: fmt.Sprintf("%d keys", len(lines))}, err
}

// compareOperator says in its answer, and not as an error, that keys go to others.
func (s *site) compareOperator(ctx context.Context) (keysAnswer, error) {
	err := s.keys.CheckOperator(ctx)
	if errors.Is(err, store.ErrOperator) {
		return keysAnswer{Wrong: 1, Summary: err.Error()}, nil
	}
	return keysAnswer{}, err
}

func (s *site) checkKeys(ctx context.Context, tenant *store.Tenant, repair bool) (keysAnswer, error) {
	beside, unlisted, err := s.keysBeside(ctx, tenant)
	if err != nil {
		return keysAnswer{}, err
	}
	rows, lines, err := s.keyRows(ctx, tenant)
	a := keysAnswer{Keys: lines}
	mended := 0
	for i, row := range rows {
		if err != nil {
			break
		}
		var wrong string
		if wrong, err = s.keys.Examine(ctx, row); err != nil || wrong == "" {
			continue
		}
		lines[i].State = wrong
		if !repair {
			a.Wrong++
			continue
		}
		if err := s.mendKey(ctx, row); err != nil {
			lines[i].State = fmt.Sprintf("%s; not mended: %v", wrong, err)
			a.Wrong++
			continue
		}
		lines[i].State = "mended: " + wrong
		mended++
	}
	if err != nil {
		return a, err
	}
	lone, err := s.eachLone(ctx, beside, rows, &a, func(key store.TenantKey) (string, error) { return s.keys.ExamineLone(ctx, key) })
	a.addUnlisted(unlisted)
	a.Summary = fmt.Sprintf("%d keys checked, %d mended, %d wrong%s", len(rows)+lone, mended, a.Wrong, ofThemLone(lone))
	return a, err
}

// keysBeside lists the keys of a tenant, nil meaning all, that lie beside the objects. It comes before keyRows: a key that is made meanwhile has
// its row then. unlisted says that there may be more.
func (s *site) keysBeside(ctx context.Context, tenant *store.Tenant) (beside []store.TenantKey, unlisted, err error) {
	var of store.TenantID
	if tenant != nil {
		of = tenant.ID
	}
	beside, err = s.keys.Beside(ctx, of)
	if _, is := errors.AsType[*blob.UnlistedError](err); is {
		return beside, err, nil
	}
	return beside, nil, err
}

// eachLone does an act with each key that lies beside the objects and has no row, and adds a line for each. do says what is wrong with it.
// n is how many there are.
func (s *site) eachLone(
	ctx context.Context, beside, rows []store.TenantKey, a *keysAnswer, do func(store.TenantKey) (wrong string, err error),
) (n int, err error) {
	names, err := s.store.TenantNames(ctx)
	if err != nil {
		return 0, err
	}
	type name struct {
		tenant store.TenantID
		id     string
	}
	known := map[name]bool{}
	for _, row := range rows {
		known[name{row.Tenant, row.ID}] = true
	}
	for _, key := range beside {
		if known[name{key.Tenant, key.ID}] {
			continue
		}
		wrong, err := do(key)
		if err != nil {
			return n, err
		}
		n++
		line := keyLine{Tenant: names[key.Tenant], TenantID: string(key.Tenant), ID: key.ID, Created: key.Created, State: "without a row in the database"}
		if wrong != "" {
			line.State += ": " + wrong
			a.Wrong++
		}
		a.Keys = append(a.Keys, line)
	}
	return n, nil
}

// addUnlisted adds a line for keys that may be there and were not seen.
func (a *keysAnswer) addUnlisted(err error) {
	if err != nil {
		a.Keys = append(a.Keys, keyLine{Tenant: "?", ID: "?", State: err.Error()})
		a.Wrong++
	}
}

func ofThemLone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d of them beside the objects alone, without a row in the database", n)
}

// mendKey mends a key, and looks whether that helped.
func (s *site) mendKey(ctx context.Context, old store.TenantKey) error {
	if err := s.keys.Mend(ctx, old); err != nil {
		return err
	}
	rows, err := s.store.TenantKeys(ctx, old.Tenant)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID != old.ID {
			continue
		}
		if wrong, err := s.keys.Examine(ctx, row); err != nil || wrong != "" {
			return cmp.Or(err, errors.New(wrong))
		}
	}
	return nil
}

func (s *site) rewrapKeys(ctx context.Context, who auth.Principal, tenant *store.Tenant) (keysAnswer, error) {
	if err := s.keys.NoteOperator(ctx); err != nil { // first: what is made to others after this is refused
		return keysAnswer{}, err
	}
	beside, unlisted, err := s.keysBeside(ctx, tenant)
	if err != nil {
		return keysAnswer{}, err
	}
	rows, lines, err := s.keyRows(ctx, tenant)
	if err != nil {
		return keysAnswer{}, err
	}
	a, done := keysAnswer{Keys: lines}, 0
	audit := func(key store.TenantKey) error {
		done++
		return s.auditKey(ctx, who, key.Tenant, "encryption_key.rewrap", key.ID)
	}
	for i, row := range rows {
		if !row.Destroyed.IsZero() {
			continue
		}
		if err := s.keys.Rewrap(ctx, row); err != nil {
			lines[i].State = err.Error()
			a.Wrong++
			continue
		}
		if err := audit(row); err != nil {
			return a, err
		}
	}
	lone, err := s.eachLone(ctx, beside, rows, &a, func(key store.TenantKey) (string, error) {
		if err := s.keys.RewrapLone(ctx, key); err != nil {
			return err.Error(), nil //nolint:nilerr // told in its line, and counted; the others are done
		}
		return "", audit(key)
	})
	a.addUnlisted(unlisted)
	a.Summary = fmt.Sprintf("%d keys encrypted anew, %d failed%s", done, a.Wrong, ofThemLone(lone))
	return a, err
}

func (s *site) rotateKey(ctx context.Context, who auth.Principal, tenant *store.Tenant) (keysAnswer, error) {
	key, err := s.keys.Rotate(ctx, tenant.ID)
	if err == nil {
		err = s.auditKey(ctx, who, tenant.ID, "encryption_key.rotate", key.ID)
	}
	if err != nil {
		return keysAnswer{}, err
	}
	_, lines, err := s.keyRows(ctx, tenant)
	return keysAnswer{Keys: lines, Summary: "new messages of " + tenant.Name + " are encrypted to " + key.ID}, err
}

func (s *site) destroyKeys(ctx context.Context, who auth.Principal, tenant *store.Tenant, dryRun bool) (keysAnswer, error) {
	_, lines, err := s.keyRows(ctx, tenant)
	if err != nil {
		return keysAnswer{}, err
	}
	if dryRun {
		return keysAnswer{Keys: lines, Summary: fmt.Sprintf(
			"nothing was destroyed; without --dry-run these keys would be, and with them what is encrypted of %d bytes of mail; %s would be suspended",
			tenant.UsedBytes, tenant.Name)}, nil
	}
	n, err := s.keys.Destroy(ctx, tenant.ID)
	if err == nil {
		err = s.auditKey(ctx, who, tenant.ID, "encryption_key.destroy", string(tenant.ID))
	}
	if err != nil {
		return keysAnswer{}, err
	}
	_, lines, err = s.keyRows(ctx, tenant)
	return keysAnswer{Keys: lines, Summary: fmt.Sprintf(
		"%d keys destroyed; %s is suspended. Backups may hold the keys still: docs/encryption.md", n, tenant.Name)}, err
}

func (s *site) auditKey(ctx context.Context, who auth.Principal, tenant store.TenantID, action, target string) error {
	return s.store.Audit(ctx, store.AuditEntry{
		Tenant: tenant, ActorKind: string(who.Kind), Actor: who.Actor(), Action: action, Target: target,
	})
}
