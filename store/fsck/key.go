package fsck

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mairust/mairust/store"
)

// kind is what an object is, by its key.
type kind int

const (
	// stray is no object of ours.
	stray kind = iota
	// message is <tenant>/<mailbox>/<message>.eml.
	message
	// derived is made from a message, and can be made again: <tenant>/<mailbox>/<message>/attachments/….
	derived
	// description is <tenant>/<mailbox>/mailbox.json.
	description
	// tenantFile is <tenant>/tenant.json.
	tenantFile
	// nested looks like another installation's, whose prefix or base_path lies below this one's. It is left alone.
	nested
	// aside was moved to orphan/.
	aside
	// own is what MaiRust keeps beside the mailboxes: installation/… and the keys of tenants, <tenant>/keys/….age.
	own
)

const (
	asidePrefix   = "orphan/"
	archivePrefix = "archive/"
	ownPrefix     = "installation/"
	descriptionAs = "mailbox.json"
	tenantAs      = "tenant.json"
)

// Witness is the key of what the objects know of their database (docs/adr/0011).
const Witness = ownPrefix + "database.json"

// place is what the key of an object says.
type place struct {
	kind    kind
	tenant  store.TenantID
	mailbox store.MailboxID
	message store.MessageID
}

func placeOf(key string) place {
	p := placeHere(key)
	for below, found := key, p.kind == stray; found; {
		if _, below, found = strings.Cut(below, "/"); found && placeHere(below).kind != stray {
			return place{kind: nested}
		}
	}
	return p
}

// placeHere is for a key that is not below another installation.
func placeHere(key string) place {
	switch {
	case strings.HasPrefix(key, asidePrefix):
		return place{kind: aside}
	case strings.HasPrefix(key, ownPrefix), strings.HasPrefix(key, archivePrefix):
		return place{kind: own}
	}
	words := strings.Split(key, "/")
	if isTenantKey(words) {
		return place{kind: own}
	}
	if len(words) == 2 && isID(words[0]) && words[1] == tenantAs {
		return place{kind: tenantFile, tenant: store.TenantID(words[0])}
	}
	if len(words) < 3 || !isID(words[0]) || !isID(words[1]) {
		return place{kind: stray}
	}
	p := place{tenant: store.TenantID(words[0]), mailbox: store.MailboxID(words[1])}
	id, isMessage := strings.CutSuffix(words[2], ".eml")
	switch {
	case len(words) == 3 && words[2] == descriptionAs:
		p.kind = description
	case len(words) == 3 && isMessage && isID(id):
		p.kind, p.message = message, store.MessageID(id)
	case len(words) == 5 && isID(words[2]) && words[3] == "attachments":
		p.kind, p.message = derived, store.MessageID(words[2])
	}
	return p
}

// IsReplaced says whether the object under a key is one of those that change: a description of a mailbox or tenant, or what MaiRust keeps of its
// own. All others are put once.
func IsReplaced(key string) bool {
	kind := placeOf(key).kind
	return kind == description || kind == tenantFile || kind == own && !strings.HasPrefix(key, archivePrefix)
}

// IsMessage says whether the object under a key is a message in its mailbox. Those that lie below orphan/ are not.
func IsMessage(key string) bool { return placeOf(key).kind == message }

// IsTenantKey says whether the object under a key is the key of a tenant, to which its other objects are encrypted.
func IsTenantKey(key string) bool { return isTenantKey(strings.Split(key, "/")) }

func isTenantKey(words []string) bool {
	return len(words) == 3 && isID(words[0]) && words[1] == "keys" && strings.HasSuffix(words[2], ".age")
}

// isID knows the text form of ids: the lower-case one of RFC 9562, 4.
func isID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// timeOf is when a message was delivered, which its id (UUIDv7) tells; else what is given.
func timeOf(id store.MessageID, otherwise, now time.Time) time.Time {
	u, err := uuid.Parse(string(id))
	if err != nil || u.Version() != 7 {
		return otherwise
	}
	t := time.Unix(u.Time().UnixTime())
	if t.Year() < 2020 || t.After(now.Add(24*time.Hour)) {
		return otherwise
	}
	return t
}
