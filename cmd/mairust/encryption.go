package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
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

// adoptOperator records the operator's recipients if a version before has not, and tells the log when keys go to others. Neither stops the daemon: mail
// for tenants that have a key is taken in.
func (d *daemon) adoptOperator(ctx context.Context) {
	if !d.site.encrypts() {
		return
	}
	log := d.log.With("component", "storage")
	switch err := d.site.keys.AdoptOperator(ctx); {
	case errors.Is(err, store.ErrOperator):
		log.Error("no key is made here for tenants that have none: mail for them is deferred", "err", err)
	case err != nil:
		log.Error("the operator's recipients were not compared", "err", err)
	}
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
	recipients, err := operatorRecipients(e)
	if err != nil {
		return nil, nil, err
	}
	operator, err := crypt.ReadIdentities(e.OperatorIdentity)
	if err != nil {
		return nil, nil, fmt.Errorf("storage.encryption.operator_identity: %w", err)
	}
	return recipients, operator, nil
}

func operatorRecipients(e config.Encryption) ([]age.Recipient, error) {
	recipients, err := crypt.ParseRecipients(e.OperatorRecipients)
	if err != nil {
		return nil, fmt.Errorf("storage.encryption.operator_recipients: %w", err)
	}
	return recipients, nil
}
