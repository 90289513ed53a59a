package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/store"
)

// maxCursor bounds a cursor: an address of 320 bytes, a MAC, and base64.
const maxCursor = 1024

// list names what is paged through, and by whom: a cursor is good for exactly that. Moved to another list,
// filter, user or tenant it does not verify.
type list struct {
	kind   string
	scope  store.Scope
	filter []string
}

// fields are what the MAC covers beside the position.
func (l list) fields(position string) []string {
	all := strconv.FormatBool(l.scope.All)
	return append([]string{l.kind, all, string(l.scope.Tenant), string(l.scope.User), position}, l.filter...)
}

// cursor seals a position: base64url("<MAC> <position>").
func (s *Server) cursor(l list, position string) string {
	mac := s.d.Keyring.MAC(keyring.Cursor, l.fields(position)...)
	return base64.RawURLEncoding.EncodeToString([]byte(mac + " " + position))
}

// position opens a cursor; empty for an empty one. Any other than ours is a problem "invalid_cursor".
func (s *Server) position(l list, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(cursor) > maxCursor {
		return "", newProblem(codeInvalidCursor)
	}
	mac, position, _ := strings.Cut(string(raw), " ")
	if err := s.d.Keyring.Verify(keyring.Cursor, mac, l.fields(position)...); err != nil {
		return "", newProblem(codeInvalidCursor)
	}
	return position, nil
}

// isID tells whether text is an id as we write them: a UUID in its usual lower-case form.
func isID(text string) bool {
	u, err := uuid.Parse(text)
	return err == nil && u.String() == text
}
