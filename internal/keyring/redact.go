package keyring

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// String describes the ring without its secrets: how many keys, and the id in use.
func (r *Ring) String() string {
	if r == nil || r.keys.Load() == nil {
		return "keyring(empty)"
	}
	return fmt.Sprintf("keyring(%d keys, current %s)", len(*r.keys.Load()), r.current().id)
}

// Format writes String for every verb, %#v too.
func (r *Ring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue logs String.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON encodes String.
func (r *Ring) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, r.String()), nil }

// String names the key by its id.
func (k key) String() string { return "key(" + k.id + ")" }
