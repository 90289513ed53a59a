package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"filippo.io/age"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/sqldb"
)

// encryption looks at the operator's keys, without those of tenants: mairust keys check does that.
func (r *checkReport) encryption(ctx context.Context, c *config.Config, running *healthReport) {
	const what = "encryption"
	on := c.Storage.Options.Encryption == config.EncryptClient
	if !on && c.Storage.Encryption.OperatorIdentity == "" {
		r.pass(what, "off: messages are stored as they are")
		return
	}
	recipients, operator, err := operatorKeys(c.Storage.Encryption)
	if err == nil && on && len(operator) > 0 {
		err = crypt.Match(recipients, operator)
	}
	if err == nil && on {
		err = sameRecipients(ctx, c, running, recipients)
	}
	switch {
	case errors.Is(err, crypt.ErrOtherOperator):
		r.fail(what, err, "give the identity that belongs to one of storage.encryption.operator_recipients")
	case errors.Is(err, errOtherRecipients):
		r.fail(what, err, "give all nodes the same recipients and restart what was started with others, or run mairust keys rewrap if they were changed; until then mail for tenants that "+
			"have no key yet is deferred: docs/encryption.md, Changing keys")
	case err != nil:
		r.fail(what, err, "put back the operator's key file, readable by the user of the service alone")
	case len(operator) == 0:
		r.warn(what, "the operator's identity is not given: mail is taken in, and nothing can be read", "set storage.encryption.operator_identity")
	case !on:
		r.pass(what, "off for new messages; encrypted ones stay readable")
	default:
		r.pass(what, "on; the operator's keys fit each other (mairust keys check looks at those of tenants)")
	}
}

// errOtherRecipients is before what is wrong with the operator's recipients.
var errOtherRecipients = errors.New("the operator's recipients")

// sameRecipients asks the running daemon, else the database, whether keys go to other recipients than these: errOtherRecipients. What cannot be
// asked has a line of its own.
func sameRecipients(ctx context.Context, c *config.Config, running *healthReport, recipients []age.Recipient) error {
	if running == nil {
		return recipientsInDatabase(ctx, c, crypt.RecipientsCheck(recipients))
	}
	a, err := askDaemonForKeys(ctx, c, io.Discard, keysRequest{Act: "operator"})
	if err == nil && a.Wrong > 0 {
		err = errors.New(a.Summary)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOtherRecipients, err)
	}
	return nil
}

func recipientsInDatabase(ctx context.Context, c *config.Config, check string) error {
	o := c.Database
	o.Log = slog.New(slog.DiscardHandler)
	if _, err := os.Stat(o.Path); o.Backend == sqldb.SQLite && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := sqldb.Open(ctx, o)
	if err != nil {
		return nil // the line of the database tells it
	}
	defer db.Close() //nolint:errcheck // only read
	if db.CheckSchema(ctx) != nil {
		return nil
	}
	err = store.New(store.Options{DB: db, Log: o.Log}).CheckOperator(ctx, check)
	if err != nil {
		err = fmt.Errorf("%w: %w", errOtherRecipients, err)
	}
	return err
}
