package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/stretchr/testify/require"
)

// tortureEncryption is set when everything is to be encrypted.
const tortureEncryption = "MAIRUST_TORTURE_ENCRYPTION"

// withEncryption adds encryption to the configuration of a site that is going to be hurt, if MAIRUST_TORTURE_ENCRYPTION is
// set. operator is nil when it is not.
func withEncryption(t testing.TB, o *siteOptions) (operator *age.X25519Identity) {
	t.Helper()
	if os.Getenv(tortureEncryption) == "" {
		return nil
	}
	operator, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "operator.key")
	require.NoError(t, os.WriteFile(file, []byte(operator.String()+"\n"), 0o600))
	o.Extra += fmt.Sprintf("storage: {options: {encryption: client}, encryption: {operator_recipients: [%s], operator_identity: %q}}\n",
		operator.Recipient(), "file:"+file)
	return operator
}

// decrypt gives what is in an object, with nothing but the files and the operator's key: as one would without MaiRust.
func (i *inspection) decrypt(path string, raw []byte) ([]byte, error) {
	if i.operator == nil {
		return raw, nil
	}
	tenant := filepath.Dir(filepath.Dir(path))
	files, err := filepath.Glob(filepath.Join(tenant, "keys", "*.age"))
	if err != nil {
		return nil, err
	}
	var identities []age.Identity
	for _, file := range files {
		wrapped, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		r, err := age.Decrypt(armor.NewReader(bytes.NewReader(wrapped)), i.operator)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list, err := age.ParseIdentities(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		identities = append(identities, list...)
	}
	if !strings.HasPrefix(string(raw), "age-encryption.org/v1\n") {
		return nil, errors.New("it is not encrypted")
	}
	r, err := age.Decrypt(bytes.NewReader(raw), identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
