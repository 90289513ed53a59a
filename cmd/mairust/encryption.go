package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/blob/crypt"
)

// encrypt puts encryption between the site and its objects. It is there where nothing is encrypted too: another process may have
// been told to already, and what that stores must not be taken for damaged messages.
func (s *site) encrypt(ctx context.Context, backend crypt.Backend, log *slog.Logger, r prometheus.Registerer) error {
	e := s.config.Storage.Encryption
	recipients, operator, err := operatorKeys(e)
	if err != nil {
		return err
	}
	used, err := s.usesKeys(ctx)
	if err != nil {
		return err
	}
	if used && len(operator) == 0 {
		log.Warn("the operator's identity is not given: mail is taken in, and nothing that is encrypted can be read",
			"key", "storage.encryption.operator_identity")
	}
	s.keys = crypt.NewKeyring(crypt.KeyringOptions{
		Index: s.store, Backend: backend, Recipients: recipients, Operator: operator, Log: log,
	})
	s.objects = crypt.New(crypt.Options{Backend: backend, Keys: s.keys, Encrypt: s.encrypts(), Registerer: r})
	return nil
}

func (s *site) encrypts() bool { return s.config.Storage.Options.Encryption == config.EncryptClient }

// usesKeys says whether encryption is on, or was.
func (s *site) usesKeys(ctx context.Context) (bool, error) {
	if s.encrypts() || s.config.Storage.Encryption.OperatorIdentity != "" {
		return true, nil
	}
	keys, err := s.store.AllTenantKeys(ctx)
	return len(keys) > 0, err
}

// operatorKeys reads the keys that the configuration names.
func operatorKeys(e config.Encryption) ([]age.Recipient, []age.Identity, error) {
	recipients, err := crypt.ParseRecipients(e.OperatorRecipients)
	if err != nil {
		return nil, nil, fmt.Errorf("storage.encryption.operator_recipients: %w", err)
	}
	operator, err := crypt.ReadIdentities(e.OperatorIdentity)
	if err != nil {
		return nil, nil, fmt.Errorf("storage.encryption.operator_identity: %w", err)
	}
	return recipients, operator, nil
}

// encryption looks at the operator's keys, without those of tenants: mairust keys check does that.
func (r *checkReport) encryption(c *config.Config) {
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
	switch {
	case errors.Is(err, crypt.ErrOtherOperator):
		r.fail(what, err, "give the identity that belongs to one of storage.encryption.operator_recipients")
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
