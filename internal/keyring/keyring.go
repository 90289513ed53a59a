// Package keyring holds the installation's secret keys: one root secret per key id, from which a key per
// purpose is derived (HKDF, RFC 5869).
package keyring
