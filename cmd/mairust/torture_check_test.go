package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/mairust/mairust/api/wire"
)

// The words for what a torture test must never find.
const (
	foundLost      = "LOST"
	foundCorrupt   = "CORRUPT"
	foundDuplicate = "DUPLICATE"
	foundRefused   = "REFUSED"
)

// finding is one thing that is wrong.
type finding struct{ kind, what string }

// inspection compares an installation with the ledger: objects on disk, API, IMAP, and these with one another.
type inspection struct {
	site   *testSite
	daemon *process
	ledger *ledger
	bucket *bucketSite
	// operator is that of the rig.
	operator *age.X25519Identity

	findings []finding
	// rows are the copies that the index has, by object key without its ending.
	rows map[string]wire.Message
	// copies counts the rows by message and mailbox.
	copies map[string]int
	// orphans are whole objects without a row, left by attempts that were not acknowledged. They are no fault.
	orphans int
}

// inspect asks a running daemon for everything. Errors are findings too: mail that cannot be read is lost to its reader.
func inspect(r *tortureRig) *inspection {
	i := &inspection{site: r.site, daemon: r.daemon, ledger: r.ledger, bucket: r.bucket, operator: r.operator, rows: map[string]wire.Message{}, copies: map[string]int{}}
	for _, local := range r.locals {
		i.mailbox(local + "@example.test")
	}
	i.objects()
	i.acknowledged()
	for _, what := range r.ledger.refused {
		i.found(foundRefused, "%s", what)
	}
	return i
}

func (i *inspection) found(kind, format string, args ...any) {
	i.findings = append(i.findings, finding{kind, fmt.Sprintf(format, args...)})
}

// of counts the findings of one kind.
func (i *inspection) of(kind string) int {
	n := 0
	for _, f := range i.findings {
		if f.kind == kind {
			n++
		}
	}
	return n
}

// mailbox looks at every message through the API and through IMAP.
func (i *inspection) mailbox(address string) {
	list, err := i.daemon.list(address, "")
	if err != nil {
		i.found(foundLost, "all of %s: %v", address, err)
		return
	}
	seen, err := i.site.fetchIMAP(address)
	if err != nil {
		i.found(foundLost, "all of %s by IMAP: %v", address, err)
	}
	for _, m := range list {
		e := i.row(address, m)
		if e != nil && err == nil && seen[m.UID] != fmt.Sprintf("%x", e.shown) {
			i.found(foundCorrupt, "%s in %s has other bytes in IMAP, or none, as UID %d", e.id, address, m.UID)
		}
	}
	if err == nil && len(seen) != len(list) {
		i.found(foundCorrupt, "%s: IMAP shows %d messages, the API %d", address, len(seen), len(list))
	}
}

// row checks one message of the index against what was sent, and against what can be read. It gives what was sent,
// nil when nothing was.
func (i *inspection) row(address string, m wire.Message) *entry {
	id := idOfSender(m.EnvelopeFrom)
	i.copies[id+" "+address]++
	if i.copies[id+" "+address] > 1 {
		i.found(foundDuplicate, "%s in %s", id, address)
	}
	i.rows[m.MailboxID+"/"+m.ID] = m
	e := i.ledger.entries[id]
	if e == nil {
		i.found(foundCorrupt, "%s in %s was never sent", id, address)
		return nil
	}
	if want := fmt.Sprintf("%x", e.sum); m.SHA256 != want {
		i.found(foundCorrupt, "%s in %s has digest %s in the index, want %s", id, address, m.SHA256, want)
	}
	raw, err := i.daemon.getOK("/api/v1/messages/" + m.ID + "/raw")
	switch {
	case err != nil:
		i.found(foundLost, "%s in %s: the index has it, but: %v", id, address, err)
	case sha256.Sum256(raw) != e.sum:
		i.found(foundCorrupt, "%s in %s has %d other bytes in the API", id, address, len(raw))
	}
	return e
}

// objects looks at the objects themselves: under its own name an object is whole, and every row has one.
func (i *inspection) objects() {
	withFile := map[string]bool{}
	look := func(path string, raw []byte) {
		raw, err := i.decrypt(path, raw)
		if err != nil {
			i.found(foundCorrupt, "object %s: %v", path, err)
		}
		mailbox := filepath.Base(filepath.Dir(path))
		key := mailbox + "/" + strings.TrimSuffix(filepath.Base(path), ".eml")
		withFile[key] = true
		e := i.ledger.entries[idOfObject(raw)]
		_, indexed := i.rows[key]
		switch {
		case e == nil || sha256.Sum256(raw) != e.sum:
			i.found(foundCorrupt, "object %s of %d bytes", path, len(raw))
		case !indexed:
			i.orphans++
		}
	}
	each := i.eachFile
	if i.bucket != nil {
		each = i.bucket.eachMessage
	}
	if err := each(look); err != nil {
		i.found(foundLost, "objects: %v", err)
	}
	for key, m := range i.rows {
		if !withFile[key] {
			i.found(foundLost, "%s in %s has no object %s", m.EnvelopeFrom, m.Mailbox, key)
		}
	}
}

func (i *inspection) eachFile(look func(path string, raw []byte)) error {
	return filepath.WalkDir(filepath.Join(i.site.dir, "data", "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".eml") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err == nil {
			look(path, raw)
		}
		return err
	})
}

// acknowledged looks for every copy that a client was told of.
func (i *inspection) acknowledged() {
	for _, e := range i.ledger.all() {
		for mailbox := range e.acked {
			if i.copies[e.id+" "+mailbox] == 0 {
				i.found(foundLost, "%s in %s was acknowledged (a body of %d bytes)", e.id, mailbox, e.bodyBytes)
			}
		}
	}
}
