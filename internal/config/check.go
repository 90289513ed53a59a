package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/milter/rspamd"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/rule"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/blob/s3"
	"github.com/mairust/mairust/store/sqldb"
)

// Check finds everything that is wrong with c and can be seen without touching the machine: values that are not
// allowed, numbers out of range, listeners, rules, and keys that contradict each other. The error is Findings,
// placed by src. Load has done this; call it for a Config that was changed afterwards.
func (c *Config) Check(src Source) error { return c.check(src).err() }

func (c *Config) check(src Source) Findings {
	ck := checker{src: src}
	walk("", reflect.ValueOf(c).Elem(), ck.single)
	ck.paths(c)
	ck.database(c)
	ck.storage(c.Storage)
	ck.encryption(c.Storage)
	ck.sweep(c)
	ck.ownFiles(c)
	ck.publicURL(c)
	ck.delimiter(c.LMTP.RecipientDelimiter)
	ck.rspamd(c.Milter.Rspamd, c.Milter.TimeoutMS)
	ck.rules(c.Milter.Rules)
	ck.outbound(c)
	if err := c.Notify.SMTP.Validate(); err != nil {
		ck.report("notify.smtp", "%s", err)
	}
	if err := c.Notify.Webhook.Validate(); err != nil {
		ck.report("notify.webhook", "%s", cause(err))
	}
	if err := c.Notify.Monitor.Validate(); err != nil {
		ck.report("notify.monitor", "%s", cause(err))
	}
	if err := c.Outbound.Bounces.Validate(); err != nil {
		ck.report("outbound.bounces", "%s", err)
	}
	ck.listeners(c)
	return ck.findings
}

type checker struct {
	src      Source
	findings Findings
}

func (ck *checker) report(key, format string, args ...any) {
	if !ck.findings.covers(key) {
		ck.findings = append(ck.findings, ck.src.finding(key, format, args...))
	}
}

// single checks one key by its line in the table.
func (ck *checker) single(path string, v reflect.Value) {
	k, _ := describe(path)
	switch {
	case v.Kind() == reflect.String:
		ck.text(path, k, v.String())
	case v.Type() == durationType:
		if v.Int() < 0 {
			ck.report(path, "%s is negative", durationText(time.Duration(v.Int())))
		}
	case v.CanInt():
		ck.number(path, k, v.Int())
	}
}

func (ck *checker) text(path string, k key, s string) {
	if k.pattern {
		if _, err := regexp.Compile(s); err != nil {
			ck.report(path, "%s; patterns are RE2 (https://golang.org/s/re2syntax)", err)
		}
	}
	if len(k.allowed) == 0 || slices.Contains(k.allowed, s) {
		return
	}
	if s == "" && !ck.src.Has(path) {
		return // left to the package, whose default it is
	}
	guess := ""
	if near := nearest(s, k.allowed); near != "" {
		guess = fmt.Sprintf("; did you mean `%s`?", near)
	}
	ck.report(path, "%q is not allowed%s (allowed: %s)", clip(s), guess, strings.Join(k.allowed, ", "))
}

func (ck *checker) number(path string, k key, n int64) {
	switch {
	case n < k.min && k.max > 0:
		ck.report(path, "%d is too small (allowed: %d to %d)", n, k.min, k.max)
	case n < k.min:
		ck.report(path, "%d is too small (allowed: %d and more)", n, k.min)
	case k.max > 0 && n > k.max:
		ck.report(path, "%d is too large (allowed: %d to %d)", n, k.min, k.max)
	}
}

// maxSocketPath is the longest path of a unix socket: sun_path has 108 bytes, one of them the final NUL (unix(7)).
const maxSocketPath = 107

func (ck *checker) paths(c *Config) {
	for _, p := range []struct{ key, path string }{
		{"data_dir", c.DataDir}, {"run_dir", c.RunDir},
		{"database.path", c.Database.Path}, {"storage.options.base_path", c.Storage.Options.BasePath},
	} {
		if ck.src.Has(p.key) && (strings.ContainsRune(p.path, 0) || strings.HasPrefix(p.path, "~")) {
			ck.report(p.key, "not a path; ~ is not expanded, write the folder out")
		}
	}
	if n := len(filepath.Join(c.RunDir, "milter.sock")); n > maxSocketPath {
		ck.report("run_dir", "too long: with the names of the sockets it comes to %d bytes, a unix socket takes %d; set run_dir to a shorter folder", n, maxSocketPath)
	}
	scheme, rest, _ := strings.Cut(c.Secrets.Keyring, ":")
	if scheme != "file" && scheme != "env" || rest == "" {
		ck.report("secrets.keyring", "wants file:PATH or env:NAME")
	}
}

func (ck *checker) database(c *Config) {
	db := c.Database
	switch db.Backend {
	case sqldb.SQLite:
		if db.URL != "" {
			ck.report("database.url", "is for postgres, but database.backend is sqlite; set `backend: postgres` or remove it")
		}
		if db.Path == "" {
			ck.report("database.path", "is empty; sqlite needs a file")
		}
	case sqldb.Postgres:
		if db.Path != "" {
			ck.report("database.path", "is for sqlite, but database.backend is postgres; remove it or set `backend: sqlite`")
		}
		ck.postgresURL(db.URL)
	}
	if db.MinConnections > db.MaxConnections {
		ck.report("database.min_connections", "%d is more than database.max_connections (%d)", db.MinConnections, db.MaxConnections)
	}
}

// encryption says nothing of what a wrong key is: it may be a private one.
func (ck *checker) encryption(s Storage) {
	const key = "storage.encryption."
	if s.Options.Encryption == EncryptClient && len(s.Encryption.OperatorRecipients) == 0 {
		ck.report(key+"operator_recipients", "is needed with `encryption: client`: your public key, age1…; `mairust keys generate` makes one")
	}
	if _, err := crypt.ParseRecipients(s.Encryption.OperatorRecipients); err != nil {
		ck.report(key+"operator_recipients", "%s", err)
	}
	scheme, rest, _ := strings.Cut(s.Encryption.OperatorIdentity, ":")
	if s.Encryption.OperatorIdentity != "" && (scheme != "file" && scheme != "env" || rest == "") {
		ck.report(key+"operator_identity", "wants file:PATH or env:NAME, never the key itself")
	}
}

// storage checks the store, and the one that is being left.
func (ck *checker) storage(s Storage) {
	ck.backend("storage", s.Backend, s.Options)
	p := s.Previous
	if p == nil {
		return
	}
	if p.Backend == "" {
		ck.report("storage.previous.backend", "is missing (allowed: %s, %s)", BackendFS, BackendS3)
		return
	}
	ck.backend("storage.previous", p.Backend, p.Options)
	switch {
	case p.Backend != s.Backend:
	case p.Backend == BackendFS && nestedFolders(p.Options.BasePath, s.Options.BasePath):
		ck.report("storage.previous", "is the same folder as storage, or one of the two is inside the other (perhaps by a symbolic link or a mount); move it elsewhere, or remove it")
	case p.Backend == BackendS3 && p.Options.S3.Nested(s.Options.S3):
		ck.report("storage.previous", "is the same part of a bucket as storage, or one of the two prefixes begins with the other; take another bucket, or remove it")
	}
}

// ownFiles keeps what is not mail out of the folder of the mail: the sweep moves, and later deletes, what it does not know there.
func (ck *checker) ownFiles(c *Config) {
	mail := map[string]string{} // folders by key
	if c.Storage.Backend == BackendFS {
		mail["storage.options.base_path"] = c.Storage.Options.BasePath
	}
	if p := c.Storage.Previous; p != nil && p.Backend == BackendFS {
		mail["storage.previous.options.base_path"] = p.Options.BasePath
	}
	for _, key := range slices.Sorted(maps.Keys(mail)) {
		for _, own := range []struct{ key, path string }{
			{"data_dir", c.DataDir}, {"run_dir", c.RunDir}, {"database.path", c.Database.Path}, {"secrets.keyring", fileOf(c.Secrets.Keyring)},
			{"storage.encryption.operator_identity", fileOf(c.Storage.Encryption.OperatorIdentity)},
		} {
			if own.path != "" && mail[key] != "" && inside(own.path, mail[key]) {
				ck.report(key, "`%s` is inside this folder, where what is no mail is moved and later deleted; take one that holds nothing but mail, such as <data_dir>/mail", own.key)
			}
		}
	}
}

// fileOf gives the path of a reference file:PATH; empty for any other.
func fileOf(reference string) string {
	path, isFile := strings.CutPrefix(reference, "file:")
	if !isFile {
		return ""
	}
	return path
}

// backend checks the options of the chosen backend, and that those of the other are not given.
func (ck *checker) backend(section, backend string, o StorageOptions) {
	options := section + ".options"
	given := map[string]bool{"base_path": o.BasePath != ""}
	if backend == BackendFS {
		given = map[string]bool{
			"bucket": o.S3.Bucket != "", "prefix": o.S3.Prefix != "", "region": o.S3.Region != "", "endpoint": o.S3.Endpoint != "",
			"access_key_id": o.S3.AccessKeyID != "", "secret_access_key": o.S3.SecretAccessKey != "", "kms_key_id": o.S3.KMSKeyID != "",
		}
	} else if err := o.S3.Validate(); backend == BackendS3 && err != nil {
		ck.report(options, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] {
			ck.report(joinKey(options, name), "is not for %s.backend: %s; remove it", section, backend)
		}
	}
	if backend == BackendFS && (o.Encryption == s3.SSES3 || o.Encryption == s3.SSEKMS) {
		ck.report(joinKey(options, "encryption"), "%s is for %s.backend: %s, whose server encrypts; files want none or client", o.Encryption, section, BackendS3)
	}
}

// sweep keeps the sweep from messages that are being delivered.
func (ck *checker) sweep(c *Config) {
	if s := c.Storage.Sweep; s.MinAge > 0 && s.MinAge < 2*c.LMTP.DeliverTimeout {
		ck.report("storage.sweep.min_age", "%s is too short: a delivery may take lmtp.deliver_timeout (%s), and twice that must pass",
			durationText(s.MinAge), durationText(c.LMTP.DeliverTimeout))
	}
}

// postgresURL says nothing of the URL itself: a password is in it.
func (ck *checker) postgresURL(text string) {
	if text == "" {
		ck.report("database.url", "is needed with `backend: postgres`: postgres://user:password@host/name, env:NAME or file:PATH")
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		ck.report("database.url", "wants postgres://user:password@host/name (special characters of the password as %%XX), env:NAME or file:PATH")
	}
}

// publicURL wants https as soon as other hosts can connect: the session cookie is Secure only then.
func (ck *checker) publicURL(c *Config) {
	open := slices.ContainsFunc(c.HTTP.Listeners, func(o listen.Options) bool { return exposed(o.Address) })
	if open && !strings.HasPrefix(c.HTTP.PublicURL, "https://") {
		ck.report("http.public_url", "an http listener is reachable from other hosts: write the https:// URL that people use, so that session cookies never travel in clear")
		return
	}
	if c.HTTP.PublicURL == "" {
		return
	}
	u, err := url.Parse(c.HTTP.PublicURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		ck.report("http.public_url", "wants a URL like https://mail.example.com")
		return
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		ck.report("http.public_url", "plain http is for loopback only; use https")
	}
}

// delimiter allows what Postfix allows, short of what stands in every address.
func (ck *checker) delimiter(s string) {
	if s == "none" {
		return
	}
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || r == '@' || r == '"' || r == '\\' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			ck.report("lmtp.recipient_delimiter", "wants a sign such as \"+\" or \"-\", or none")
			return
		}
	}
}

// rspamd says nothing of the URL itself: a password may be in it.
func (ck *checker) rspamd(o rspamd.Options, milterTimeoutMS int) {
	if o.URL == "" {
		return
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		ck.report("milter.rspamd.url", "wants a URL like http://127.0.0.1:11333; a password goes into milter.rspamd.password")
		return
	}
	if o.TimeoutMS > milterTimeoutMS {
		ck.report("milter.rspamd.timeout_ms", "%d is longer than milter.timeout_ms (%d)", o.TimeoutMS, milterTimeoutMS)
		return
	}
	if _, err := rspamd.New(o, nil); err != nil {
		ck.report("milter.rspamd", "%s", err)
	}
}

// rules checks each rule by itself, so that every bad one is told, and then their names together.
func (ck *checker) rules(rules []rule.Options) {
	for i, r := range rules {
		if _, err := rule.New([]rule.Options{r}); err != nil {
			ck.report(fmt.Sprintf("milter.rules[%d]", i), "%s", cause(err))
		}
	}
	if ck.findings.covers("milter.rules") {
		return
	}
	if _, err := rule.New(rules); err != nil {
		ck.report("milter.rules", "%s", err)
	}
}

// outbound checks each option by itself and in its context, and the bulk senders when the options are right.
func (ck *checker) outbound(c *Config) {
	walk("outbound", reflect.ValueOf(c.Outbound), func(path string, v reflect.Value) {
		if v.CanFloat() && v.IsZero() && ck.src.Has(path) && !strings.HasPrefix(path, "outbound.weights.") {
			ck.report(path, "0 is not allowed; the least is 0.000001")
		}
	})
	for _, f := range c.Outbound.Check() {
		ck.report("outbound."+f.Key, "%s", f.Problem)
	}
	if err := c.Outbound.Gate.Check(); err != nil {
		ck.report("outbound", "%s", err)
	}
	if ck.findings.covers("outbound") {
		return
	}
	if _, err := policy.Compile(c.Outbound.Options, c.OutboundWhitelist); err != nil {
		ck.report("outbound_whitelist", "%s", err)
	}
}

// cause is err without what its outermost wrapping says, which is the rule's place in a list of one.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// clip keeps a value that is cited in a finding to one short line.
func clip(s string) string {
	const limit = 40
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}
