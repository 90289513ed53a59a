package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob/crypt"
)

// movingSite is a site whose store changes, with keys of its operator.
type movingSite struct {
	*testSite
	bucket *bucketSite
	// base is the configuration without its section storage.
	base string
	// operator is the right key, in keyFile.
	operator *age.X25519Identity
	keyFile  string
}

func newMovingSite(t *testing.T) *movingSite {
	t.Helper()
	s := &movingSite{bucket: newBucketSite(t, labtest.MinIO(t)), keyFile: filepath.Join(t.TempDir(), "operator.key")}
	s.testSite = newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob", "eve"}})
	raw, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	s.base = string(raw)
	s.operator, err = age.GenerateX25519Identity()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.keyFile, []byte(s.operator.String()+"\n"), 0o600))
	return s
}

// use writes the section storage with encryption: previous may be empty.
func (s *movingSite) use(t *testing.T, backend, previous, keyFile string) {
	t.Helper()
	options := map[string]string{
		"fs": "backend: fs, options: {base_path: " + s.dir + "/data/mail, encryption: client}",
		"s3": "backend: s3, options: " + s.bucket.options(", encryption: client"),
	}
	section := options[backend]
	if previous != "" {
		section += ", previous: {" + options[previous] + "}"
	}
	require.NoError(t, os.WriteFile(s.configFile, fmt.Appendf(nil, "%sstorage: {%s, encryption: {operator_recipients: [%s], operator_identity: %q}}\n",
		s.base, section, s.operator.Recipient(), "file:"+keyFile), 0o600))
}

// sendSome has messages of small and big size acknowledged.
func (s *movingSite) sendSome(t *testing.T, acked *acknowledged, n int) {
	t.Helper()
	for i := range n {
		body := bigMessage[:18*(300+4000*(i%5))]
		require.True(t, acked.send(t, s.testSite, []string{"bob", "eve"}[i%2], body).Accepted())
	}
}

// TestEncryptedMailMovesToS3AndBackWhileItFlows moves a store that holds messages from before encryption was turned on, too.
// The objects go over as they lie, so that no key is needed, and a wrong one does no harm.
func TestEncryptedMailMovesToS3AndBackWhileItFlows(t *testing.T) {
	site := newMovingSite(t)
	acked := &acknowledged{}
	daemon := site.start(t)
	site.sendSome(t, acked, 20)
	daemon.kill()
	site.use(t, "fs", "", site.keyFile)
	daemon = site.start(t)
	site.sendSome(t, acked, 20)
	daemon.kill()

	site.use(t, "s3", "fs", site.keyFile)
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	moveWhileMailFlows(t, site.testSite, acked, "s3")
	acked.check(t, daemon, "bob", "eve")
	daemon.kill()

	site.use(t, "s3", "", site.keyFile)
	require.NoError(t, os.Rename(site.dir+"/data/mail", site.dir+"/data/left"))
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	report, code := site.fsck(t, "--verify-content", "--min-age", "0s")
	require.Zero(t, code, report)
	require.Contains(t, site.run(t, "keys", "check"), "1 keys checked, 0 mended, 0 wrong")
	require.Equal(t, 20, site.plainInBucket(t), "those from before, and no others")
	daemon.kill()

	wrong, recipient, err := crypt.NewOperator(time.Now())
	require.NoError(t, err)
	require.NotEqual(t, site.operator.Recipient().String(), recipient)
	wrongFile := filepath.Join(t.TempDir(), "wrong.key")
	require.NoError(t, os.WriteFile(wrongFile, []byte(wrong), 0o600))
	site.use(t, "fs", "s3", wrongFile)
	daemon = site.start(t)
	moveWhileMailFlows(t, site.testSite, acked, "fs")
	require.Equal(t, 20, site.readable(t, daemon), "without the right key those from before can be read")
	daemon.kill()
	site.use(t, "fs", "s3", wrongFile+".missing")
	require.Contains(t, site.run(t, "migrate-storage", "--to", "fs", "--verify-all"), "Everything is in the new store")

	site.use(t, "fs", "", site.keyFile)
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	report, code = site.fsck(t, "--verify-content", "--min-age", "0s")
	require.Zero(t, code, report)
	daemon.kill()
	site.requireRecoverable(t, acked)
}

// plainInBucket counts the messages in the bucket that are not encrypted.
func (s *movingSite) plainInBucket(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, s.bucket.eachMessage(func(_ string, raw []byte) {
		if !bytes.HasPrefix(raw, []byte("age-encryption.org/v1\n")) {
			n++
		}
	}))
	return n
}

// readable counts the messages that the API gives; what it does not give waits, and is not called damaged.
func (s *movingSite) readable(t *testing.T, p *process) (n int) {
	t.Helper()
	for _, mailbox := range []string{"bob@example.test", "eve@example.test"} {
		for _, m := range p.messages(t, mailbox, "") {
			code, body, err := p.get("/api/v1/messages/" + m.ID + "/raw")
			require.NoError(t, err)
			if code == http.StatusOK {
				n++
				continue
			}
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Contains(t, string(body), "body_unavailable")
		}
	}
	return n
}

// requireRecoverable opens every message with nothing but the files and the operator's key.
func (s *movingSite) requireRecoverable(t *testing.T, acked *acknowledged) {
	t.Helper()
	i := &inspection{operator: s.operator}
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "mail", "*", "*", "*.eml"))
	require.NoError(t, err)
	var found []string
	for _, path := range files {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		if bytes.HasPrefix(raw, []byte("age-encryption.org/v1\n")) {
			raw, err = i.decrypt(path, raw)
			require.NoError(t, err, path)
		}
		_, rest, _ := strings.Cut(string(raw), "Subject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		require.True(t, acked.sent[subject] == string(raw), "%s is another message: %q", path, subject)
		found = append(found, subject)
	}
	for _, l := range acked.list {
		require.True(t, slices.Contains(found, l.subject), "LOST: %v was acknowledged", l)
	}
}

// TestPlainMailMovesToAStoreThatEncrypts turns encryption on together with the new store: what comes from the old one stays
// as it is there.
func TestPlainMailMovesToAStoreThatEncrypts(t *testing.T) {
	site := newMovingSite(t)
	acked := &acknowledged{}
	daemon := site.start(t)
	site.sendSome(t, acked, 10)
	daemon.kill()
	site.use(t, "s3", "fs", site.keyFile)
	raw, err := os.ReadFile(site.configFile)
	require.NoError(t, err)
	old := strings.Replace(string(raw), "/data/mail, encryption: client", "/data/mail", 1)
	require.NoError(t, os.WriteFile(site.configFile, []byte(old), 0o600))
	daemon = site.start(t)
	site.sendSome(t, acked, 10)
	site.run(t, "migrate-storage", "--to", "s3", "--verify-all")
	daemon.kill()
	site.use(t, "s3", "", site.keyFile)
	require.NoError(t, os.RemoveAll(site.dir+"/data/mail"))
	daemon = site.start(t)
	acked.check(t, daemon, "bob", "eve")
	require.Equal(t, 10, site.plainInBucket(t))
	report, code := site.fsck(t, "--verify-content", "--min-age", "0s")
	require.Zero(t, code, report)

	// A copy that differs from the old one is told, and not taken for good.
	key := site.bucket.messages(t)[0]
	whole := read(t, site.bucket.direct, key)
	path := filepath.Join(site.dir, "data", "mail", key)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(whole[:len(whole)-1]), '!'), 0o600))
	daemon.kill()
	site.use(t, "s3", "fs", site.keyFile)
	out, err := site.command(t.Context(), "migrate-storage", "--to", "s3", "--verify-all").Output()
	require.Error(t, err)
	require.Contains(t, string(out), "not taken over: "+key+": the two stores have different objects under this key: digest ")
	require.Contains(t, string(out), differsHint)
	require.Equal(t, whole, read(t, site.bucket.direct, key))
}

// TestGoingBackAfterTheOperatorsKeyWasChangedTellsOfKeysOfBefore goes to S3, changes the operator's key there, and comes back to the files.
func TestGoingBackAfterTheOperatorsKeyWasChangedTellsOfKeysOfBefore(t *testing.T) {
	site := newMovingSite(t)
	acked := &acknowledged{}
	site.use(t, "fs", "", site.keyFile)
	daemon := site.start(t)
	site.sendSome(t, acked, 4)
	daemon.kill()
	site.use(t, "s3", "fs", site.keyFile)
	site.run(t, "migrate-storage", "--to", "s3")

	before := site.operator
	var err error
	site.operator, err = age.GenerateX25519Identity()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(site.keyFile, fmt.Appendf(nil, "%s\n%s\n", before, site.operator), 0o600))
	site.use(t, "s3", "", site.keyFile)
	require.Contains(t, site.run(t, "keys", "rewrap"), "1 keys encrypted anew")
	require.NoError(t, os.WriteFile(site.keyFile, []byte(site.operator.String()+"\n"), 0o600))

	site.use(t, "fs", "s3", site.keyFile)
	out, err := site.command(t.Context(), "migrate-storage", "--to", "fs").Output()
	require.Error(t, err)
	require.Contains(t, string(out), "the two stores have different keys under this name")
	require.Contains(t, string(out), keysHint)
	require.Contains(t, site.run(t, "keys", "check", "--repair"), "1 keys checked, 1 mended, 0 wrong")
	require.Contains(t, site.run(t, "migrate-storage", "--to", "fs"), "Everything is in the new store")
	site.requireRecoverable(t, acked)
}
