package config

import (
	"strings"

	"github.com/mairust/mairust/store/blob/s3"
)

// key describes one key of the file: the comments of Defaults, docs/config.md, the checks of single values,
// secrets and Diff all come from the table below.
type key struct {
	// path has [] for the index of a list; see tablePath.
	path string
	// doc is one line for the admin.
	doc string
	// from says in words what the default follows from; empty for a fixed default.
	from string
	// allowed are the only values of a text.
	allowed []string
	// min and max bound a number; max 0 is no bound, and no number is ever negative.
	min, max int64
	// pattern marks a regular expression (RE2).
	pattern bool
	// secret values are never printed, and may be given as env:NAME or file:PATH.
	secret bool
	// live keys apply on reload; all others need a restart.
	live bool
}

// keys has a line for each key, in the order of the structs; a test compares the two.
var keys = []key{
	{path: "data_dir", doc: "Everything that must survive a restart; back this up.", from: "`/var/lib/mairust` for root, `./mairust-data` for anyone else"},
	{path: "run_dir", doc: "Sockets, among them `admin.sock` of the admin commands; made anew at each start.", from: "`/run/mairust` for root with the default `data_dir`, else `<data_dir>/run`"},

	{path: "secrets", doc: "The installation's own secrets."},
	{path: "secrets.keyring", doc: "Root keys of all signatures and sealed secrets, as `file:PATH` or `env:NAME`; a file is made at the first start. Without it a backup is incomplete.", from: "`file:<data_dir>/keyring`"},

	{path: "database", doc: "The index of all mail, users and jobs."},
	{path: "database.backend", doc: "`sqlite` is embedded and means one process; `postgres` is version 14 or later.", allowed: []string{"sqlite", "postgres"}},
	{path: "database.path", doc: "The file of SQLite.", from: "`<data_dir>/mairust.db` with `sqlite`"},
	{path: "database.url", doc: "Where PostgreSQL is, as `postgres://user@host/name`, with a password where it wants one, or through its unix socket, as `postgres:///name?host=/run/postgresql`; best given as `env:NAME` or `file:PATH`.", secret: true},
	{path: "database.max_connections", doc: "At most this many connections to PostgreSQL from one process.", min: 1, max: 10_000},
	{path: "database.min_connections", doc: "This many are kept open; not more than `max_connections`.", max: 10_000},

	{path: "storage", doc: "The messages themselves."},
	{path: "storage.backend", doc: "`fs` keeps each message in a file, `s3` in a bucket of S3 or of a server like it (docs/s3.md).", allowed: []string{"fs", "s3"}},
	{path: "storage.options", doc: "Options of the backend: `base_path` and `journal` of `fs`, all others of `s3`."},
	{path: "storage.options.base_path", doc: "The folder of the files; one local file system, on which hard links work.", from: "`<data_dir>/mail`"},
	{path: "storage.options.journal", doc: "`auto` makes small messages durable many at a time, through a journal in `base_path`, where the file system allows it; `off` flushes each by itself.", allowed: []string{"auto", "off"}},
	{path: "storage.options.encryption", doc: "`client` encrypts new messages before they are stored, with keys that you hold (docs/encryption.md); what is stored already stays as it is. `sse-s3` and `sse-kms` have a server of S3 encrypt, with its own key or with `kms_key_id`. `none` stores as it is.", allowed: []string{EncryptNone, EncryptClient, s3.SSES3, s3.SSEKMS}, from: "`none` with `fs`, `sse-s3` with `s3`"},
	{path: "storage.options.attachments", doc: "Decoded copies of attachments beside the message: `lazy` makes one when it is first asked for, `eager` right after delivery, `never` none. Without a copy an attachment is decoded from the message.", allowed: []string{"lazy", "eager", "never"}},
	{path: "storage.options.bucket", doc: "The bucket; it must exist."},
	{path: "storage.options.prefix", doc: "Put before every key, as `mail/`, so that others can use the bucket too."},
	{path: "storage.options.region", doc: "The region of AWS; servers with an `endpoint` mostly take any, and get `us-east-1`."},
	{path: "storage.options.endpoint", doc: "URL of a server that is not AWS, as `https://s3.example.com`."},
	{path: "storage.options.path_style", doc: "Puts the bucket into the path of the URL, not into the host's name; most servers that are not AWS want it."},
	{path: "storage.options.access_key_id", doc: "Without both keys the AWS SDK looks where it always does: `AWS_*` variables, `~/.aws`, the role of the machine. Given as `file:`, both are read again while the daemon runs.", secret: true},
	{path: "storage.options.secret_access_key", doc: "Of that key.", secret: true},
	{path: "storage.options.multipart_threshold_mb", doc: "Above this size (MiB) an object is sent in parts.", min: 1, max: 128},
	{path: "storage.options.multipart_chunk_mb", doc: "Size of a part (MiB). S3 itself takes none below 5, but for the last; `mairust check` tries.", min: 1, max: 128},
	{path: "storage.options.checksums", doc: "`crc32` sends a checksum that the server compares and keeps; `auto` does where the server takes it. MaiRust's own SHA-256 is always kept.", allowed: []string{"auto", "crc32", "off"}},
	{path: "storage.options.kms_key_id", doc: "The key for `sse-kms`; empty is the bucket's or the account's own."},
	{path: "storage.options.request_timeout", doc: "Bounds one request, with a second more for each 64 KiB that it carries."},
	{path: "storage.options.attempts", doc: "How often a request is made that fails for a reason that may pass.", min: 1, max: 10},
	{path: "storage.options.max_connections", doc: "Requests at once; one more waits.", min: 1, max: 10_000},
	{path: "storage.previous", doc: "The store that is being left, with its own `backend` and `options`: messages that `mairust migrate-storage` has not copied yet are read from there (docs/s3.md)."},
	{path: "storage.encryption", doc: "The keys of `encryption: client`."},
	{path: "storage.encryption.operator_recipients", doc: "Your public keys (`age1…`), to which the keys of tenants are encrypted; `mairust keys generate` makes a pair."},
	{path: "storage.encryption.operator_identity", doc: "Your private key, as `file:PATH` or `env:NAME`. Without it mail is taken in, and nothing can be read."},
	{path: "storage.encryption.index_content", doc: "Whether subject, preview and names of files of new messages are kept in the database, where nothing is encrypted.", from: "`false` with `encryption: client`, else `true`"},
	{path: "storage.sweep", doc: "Finds messages that the database lost, and what is stored for nothing (docs/operations.md)."},
	{path: "storage.sweep.interval", doc: "Time between sweeps over all objects."},
	{path: "storage.sweep.min_age", doc: "An object must be as old to be missed in the database: those of deliveries under way are not there yet. At least twice `lmtp.deliver_timeout`."},
	{path: "storage.sweep.keep_orphans", doc: "How long what belongs to no mailbox is kept below `orphan/`."},
	{path: "storage.sweep.mass_objects", doc: "More objects than this without a row (or than `mass_percent` of all, whichever is more) stop the sweep until `mairust fsck --repair`.", min: 1, max: 1_000_000},
	{path: "storage.sweep.mass_percent", doc: "The same as a part of all objects.", min: 1, max: 100},

	{path: "milter", doc: "Scans what Postfix receives."},
	{path: "milter.listeners", doc: "Where Postfix's `smtpd_milters` connects.", from: "`unix:<run_dir>/milter.sock` and `inet:127.0.0.1:8898`"},
	{path: "milter.timeout_ms", doc: "Deadline of all checks of a message together; Postfix's `milter_content_timeout` must be longer.", min: 1, max: 300_000},
	{path: "milter.max_connections", doc: "At once on one listener; one more waits.", min: 1, max: 100_000},
	{path: "milter.max_per_client", doc: "At once from one address; one more is closed. 0 is as many as `max_connections`, because Postfix is one client.", max: 100_000},
	{path: "milter.spool_memory_bytes", doc: "A longer message is spooled to a file without a name.", min: 1, max: 1 << 30},
	{path: "milter.spool_max_bytes", doc: "A longer message is not checked but tagged `unscanned`.", min: 1, max: 1 << 40},
	{path: "milter.quarantine", doc: "What becomes of a quarantined message."},
	{path: "milter.quarantine.elsewhere", doc: "When a recipient is not delivered here, or may be sent on by an alias: `hold` is Postfix's hold queue.", allowed: []string{"hold", "tag", "reject"}},
	{path: "milter.quarantine.mailers", doc: "The Postfix transports that end in MaiRust's LMTP."},
	{path: "milter.rspamd", doc: "rspamd judges the message; off without a `url`."},
	{path: "milter.rspamd.url", doc: "A normal worker or a proxy, such as `http://127.0.0.1:11333`."},
	{path: "milter.rspamd.password", doc: "Sent to rspamd when it is not empty.", secret: true},
	{path: "milter.rspamd.timeout_ms", doc: "Deadline of one request, within `milter.timeout_ms`.", min: 1, max: 300_000},
	{path: "milter.rspamd.max_bytes", doc: "A longer message is not sent to rspamd but tagged `unscanned`.", min: 1, max: 1 << 40},
	{path: "milter.rspamd.on_error", doc: "What happens to mail while rspamd is down; `allow` adds the tag `unscanned`.", allowed: []string{"allow", "tempfail", "reject"}},
	{path: "milter.rspamd.add_header", doc: "What rspamd's actions `add header` and `rewrite subject` mean.", allowed: []string{"tag", "quarantine"}},
	{path: "milter.rspamd.greylist", doc: "What rspamd's action `greylist` means; `allow` where its greylisting module runs, which says `soft reject`.", allowed: []string{"tempfail", "allow"}},
	{path: "milter.rules", doc: "The site's own rules, in order (docs/config.md has an example). The gravest verdict of those that match counts.", live: true},
	{path: "milter.rules[].name", doc: "Stands in logs and reasons; `rule-N` when left out. No two rules share one."},
	{path: "milter.rules[].direction", doc: "Which mail the rule looks at; `local` is sendmail's. `inbound` when left out.", allowed: []string{"inbound", "outbound", "local", "any"}},
	{path: "milter.rules[].header", doc: "Header fields that must all be there and match, in the first MiB of the header; a longer one has the defect `header_too_long`."},
	{path: "milter.rules[].header[].name", doc: "Name of the field, in any case of letters."},
	{path: "milter.rules[].header[].matches", doc: "Looks at its decoded value.", pattern: true},
	{path: "milter.rules[].sender_matches", doc: "Looks at the envelope sender, `local@domain`; empty for the null sender.", pattern: true},
	{path: "milter.rules[].recipient_matches", doc: "Looks at each envelope recipient; one is enough.", pattern: true},
	{path: "milter.rules[].client", doc: "Networks (CIDR) or addresses, one of which the SMTP client is in."},
	{path: "milter.rules[].helo_matches", doc: "Looks at the name given in HELO or EHLO.", pattern: true},
	{path: "milter.rules[].size_gt", doc: "The message is larger than so many bytes."},
	{path: "milter.rules[].size_lt", doc: "The message is smaller than so many bytes."},
	{path: "milter.rules[].attachment_name_matches", doc: "Looks at the decoded file name of each attachment, in attached messages too; one is enough.", pattern: true},
	{path: "milter.rules[].attachment_type", doc: "Media types, as `application/zip` or `image/*`; one attachment of one of them is enough."},
	{path: "milter.rules[].defect", doc: "What is malformed about the message; one of the words is enough. `header_too_long`, `too_many_parts`, `too_deep`, `no_boundary` and `encoded_message` mean that attachments may be hidden; such mail has the tag `malformed`. `mairust config check` answers an unknown word with the list of all."},
	{path: "milter.rules[].body_contains", doc: "These very bytes are in the first 64 KiB of the body as sent."},
	{path: "milter.rules[].authenticated", doc: "The client has logged in, or has not."},
	{path: "milter.rules[].not", doc: "Exceptions, of the same conditions: the rule does not match if any one of them holds."},
	{path: "milter.rules[].action", doc: "`tag` when left out and there are tags, else `allow`.", allowed: []string{"allow", "tag", "quarantine", "tempfail", "reject"}},
	{path: "milter.rules[].tags", doc: "Put on the message; a-z, 0-9, `.`, `_`, `-`, at most 40 characters each."},
	{path: "milter.rules[].score", doc: "On rspamd's scale; the greatest of all rules that match counts."},
	{path: "milter.rules[].reply", doc: "Replaces the standard answer of `reject` and `tempfail`."},
	{path: "milter.rules[].reply.code", doc: "5xx for `reject`, 4xx for `tempfail`."},
	{path: "milter.rules[].reply.enhanced", doc: "The enhanced status code (RFC 3463)."},
	{path: "milter.rules[].reply.text", doc: "One line of printable ASCII, at most 200 characters; required."},
	{path: "milter.rules[].stop", doc: "Ends the list when the rule matches."},

	{path: "outbound", doc: "Judges what accounts send out (docs/outbound.md). Windows are rolling; counts are recipient copies."},
	{path: "outbound.mode", doc: "`off` decides nothing, `shadow` records what it would have decided, `enforce` limits and suspends. A stop by hand holds in all but `off`.", allowed: []string{"off", "shadow", "enforce"}, live: true},
	{path: "outbound.modes", doc: "Exceptions, as `{tenant: NAME, mode: MODE}` or `{account: LOGIN@DOMAIN, mode: MODE}`; an account counts before its tenant.", live: true},
	{path: "outbound.modes[].tenant", doc: "The tenant that the mode is for.", live: true},
	{path: "outbound.modes[].account", doc: "The account that the mode is for, in lower case with its domain.", live: true},
	{path: "outbound.modes[].mode", doc: "As `outbound.mode`.", allowed: []string{"off", "shadow", "enforce"}, live: true},
	{path: "outbound.default_domain", doc: "Added to a login that has no domain.", live: true},
	{path: "outbound.auto_suspend", doc: "A score over `thresholds.hard` suspends; without it, it is a soft limit.", live: true},
	{path: "outbound.require_corroboration", doc: "Suspends only with a second kind of evidence: a new place, spam, invalid recipients, a listed URL, malware, or a campaign that was forgiven before.", live: true},
	{path: "outbound.auto_reenable_after_hours", doc: "A suspended account comes back, to the soft limit; 0 is never.", max: 8760, live: true},
	{path: "outbound.soft_limit", doc: "What a soft limit means.", live: true},
	{path: "outbound.soft_limit.action", doc: "`450` refuses for now, `hold` accepts into Postfix's hold queue.", allowed: []string{"450", "hold"}, live: true},
	{path: "outbound.soft_limit.per_hour", doc: "The least cap of an hour; at a place known for days `headroom` times the account's own peak, if that is more.", min: 1, max: 1000000, live: true},
	{path: "outbound.soft_limit.per_day", doc: "The same for 24 hours.", min: 1, max: 1000000, live: true},
	{path: "outbound.soft_limit.headroom", doc: "Over the account's own peak.", live: true},
	{path: "outbound.soft_limit.clean_hours", doc: "Hours without a breach that end a soft limit.", min: 1, max: 720, live: true},
	{path: "outbound.limits", doc: "Plain limits, whatever the score is. Accounts of `outbound_whitelist` have their own.", live: true},
	{path: "outbound.limits.user_per_hour", doc: "Recipients of an account in an hour.", min: 1, max: 1000000, live: true},
	{path: "outbound.limits.user_per_day", doc: "Recipients of an account in 24 hours.", min: 1, max: 1000000, live: true},
	{path: "outbound.limits.domain_per_hour", doc: "Recipients of all accounts of a domain in an hour.", min: 1, max: 1000000, live: true},
	{path: "outbound.limits.tenant_per_hour", doc: "Recipients of all accounts of a tenant in an hour.", min: 1, max: 1000000, live: true},
	{path: "outbound.weights", doc: "The score is the sum of three factors (0 to 1) with these weights, which add up to 1.", live: true},
	{path: "outbound.weights.rate", doc: "How many recipients, and how many new ones.", live: true},
	{path: "outbound.weights.content", doc: "Spam, campaigns, invalid recipients, new lists, listed URLs, malware.", live: true},
	{path: "outbound.weights.history", doc: "New places, strikes, unusual hours.", live: true},
	{path: "outbound.thresholds", doc: "Of the score.", live: true},
	{path: "outbound.thresholds.soft", doc: "From here on the account is at a soft limit.", live: true},
	{path: "outbound.thresholds.hard", doc: "From here on it is suspended.", live: true},
	{path: "outbound.thresholds.corroboration", doc: "Spam and invalid recipients must reach it to corroborate; a new place always does.", live: true},
	{path: "outbound.rate", doc: "Evidence by numbers. A count is none up to `onset` of its limit and full at the limit: the greater of the floor and `multiple` times the account's own peak.", live: true},
	{path: "outbound.rate.floor_minute", doc: "Recipients in a minute.", min: 1, max: 1000000, live: true},
	{path: "outbound.rate.floor_ten_minutes", doc: "Recipients in ten minutes.", min: 1, max: 1000000, live: true},
	{path: "outbound.rate.floor_hour", doc: "Recipients in an hour.", min: 1, max: 1000000, live: true},
	{path: "outbound.rate.floor_day", doc: "Recipients in 24 hours.", min: 1, max: 1000000, live: true},
	{path: "outbound.rate.floor_new_hour", doc: "Recipients in an hour to whom the account never wrote before.", min: 1, max: 1000000, live: true},
	{path: "outbound.rate.floor_new_day", doc: "The same in 24 hours.", min: 1, max: 1000000, live: true},
	{path: "outbound.rate.multiple", doc: "Of the account's own peak.", live: true},
	{path: "outbound.rate.onset", doc: "Part of a limit where evidence begins.", live: true},
	{path: "outbound.rate.new_weight", doc: "What new recipients weigh beside volume.", live: true},
	{path: "outbound.rate.known_weight", doc: "What a known recipient counts in the volume; a new one counts 1.", live: true},
	{path: "outbound.rate.decay", doc: "What is left of a peak after a day.", live: true},
	{path: "outbound.content", doc: "Evidence by content.", live: true},
	{path: "outbound.content.spam_from", doc: "Mean spam score of the last messages where evidence begins.", live: true},
	{path: "outbound.content.spam_full", doc: "Mean spam score that is full evidence.", live: true},
	{path: "outbound.content.spam_certain", doc: "Spam score of one message that is full evidence for an hour.", live: true},
	{path: "outbound.content.campaign_new_from", doc: "New recipients of one body in an hour where evidence begins.", max: 1000000, live: true},
	{path: "outbound.content.campaign_new_full", doc: "The number that is full evidence.", min: 1, max: 1000, live: true},
	{path: "outbound.content.campaign_all_from", doc: "All recipients of one body in an hour where evidence begins.", max: 1000000, live: true},
	{path: "outbound.content.campaign_all_full", doc: "The number that is full evidence.", min: 1, max: 1000, live: true},
	{path: "outbound.content.campaign_all_weight", doc: "What all recipients weigh beside new ones, from the second message on; at a new place they weigh in full.", live: true},
	{path: "outbound.content.campaign_day_multiple", doc: "These numbers times this are the same in 24 hours.", min: 1, max: 10, live: true},
	{path: "outbound.content.campaign_weight", doc: "What a campaign weighs within content.", live: true},
	{path: "outbound.content.template_days", doc: "A body in use for so long is a template and no campaign.", min: 1, max: 365, live: true},
	{path: "outbound.content.invalid_from", doc: "Share of recipients that do not exist (the lower bound of a small sample) where evidence begins.", live: true},
	{path: "outbound.content.invalid_full", doc: "Share that is full evidence.", live: true},
	{path: "outbound.content.invalid_least", doc: "There must be as many in an hour, or twice as many in 24 hours.", min: 1, max: 1000, live: true},
	{path: "outbound.content.newlist_from", doc: "Share of new recipients where evidence begins.", live: true},
	{path: "outbound.content.newlist_full", doc: "Share that is full evidence, when their number is above normal.", live: true},
	{path: "outbound.content.newlist_weight", doc: "What new recipients weigh within content.", live: true},
	{path: "outbound.content.persist_from", doc: "Recipients tried in a day after a soft limit began to refuse, at a new place, where evidence begins.", min: 0, max: 1_000_000, live: true},
	{path: "outbound.content.persist_full", doc: "So many are full evidence.", min: 1, max: 1000, live: true},
	{path: "outbound.content.home_multiple", doc: "Raises the limits of new recipients and campaigns in an hour, at a place known for days and while nothing speaks against the content.", min: 1, max: 20, live: true},
	{path: "outbound.content.home_day_multiple", doc: "The same for 24 hours.", min: 1, max: 20, live: true},
	{path: "outbound.content.away_multiple", doc: "Raises them at a place that is neither new nor known for days.", min: 1, max: 20, live: true},
	{path: "outbound.content.cold_multiple", doc: "Raises them for an account without history.", min: 1, max: 20, live: true},
	{path: "outbound.history", doc: "Evidence by what was before.", live: true},
	{path: "outbound.history.new_place", doc: "Evidence of a new country.", live: true},
	{path: "outbound.history.new_network", doc: "Evidence of a new network in a known country, or without a database of countries.", live: true},
	{path: "outbound.history.new_place_minutes", doc: "How long a place is new.", min: 1, max: 10_080, live: true},
	{path: "outbound.history.new_place_uses", doc: "Until mail went from there to known people in so many different hours it stays new, for at most a week.", min: 1, max: 1000, live: true},
	{path: "outbound.history.habit_network", doc: "Evidence of a new network for an account whose networks change as a habit.", live: true},
	{path: "outbound.history.habit_days", doc: "New networks on so many past days, each counting a twentieth less every day, are a habit.", live: true},
	{path: "outbound.history.home_hours", doc: "A place is known after so long.", min: 1, max: 720, live: true},
	{path: "outbound.history.many_countries", doc: "So many countries, one of them new, are full evidence.", min: 2, max: 8, live: true},
	{path: "outbound.history.many_networks", doc: "So many new networks are full evidence.", min: 2, max: 8, live: true},
	{path: "outbound.history.many_hours", doc: "Within so many hours.", min: 1, max: 168, live: true},
	{path: "outbound.history.strike", doc: "Evidence of one breach of the soft threshold, counted once in an hour.", live: true},
	{path: "outbound.history.strike_half_life_hours", doc: "A strike is half as much after so long.", min: 1, max: 720, live: true},
	{path: "outbound.history.hour", doc: "Evidence of an unusual hour of the day (UTC).", live: true},
	{path: "outbound.history.hour_share", doc: "An hour with a smaller share of past mail is unusual.", live: true},
	{path: "outbound.history.hour_least", doc: "Only with so many past messages.", min: 1, max: 1000, live: true},
	{path: "outbound.history.cold_hours", doc: "For so long after its first mail an account has no history.", min: 1, max: 720, live: true},
	{path: "outbound.history.cold_messages", doc: "Nor with fewer messages than this.", min: 1, max: 1000, live: true},
	{path: "outbound.trusted_networks", doc: "Networks (CIDR) or addresses that may send without a login; each of their addresses is an account.", live: true},
	{path: "outbound.tenants", doc: "Whose a sender is, where its domain does not say, as `{match: ACCOUNT, DOMAIN or NETWORK, tenant: NAME}`; others belong to the tenant `system`.", live: true},
	{path: "outbound.tenants[].match", doc: "An account, a domain, or the network (CIDR) of a client that has no login.", live: true},
	{path: "outbound.tenants[].tenant", doc: "The tenant's name.", live: true},
	{path: "outbound.geoip", doc: "A database of countries (MMDB) of MaxMind, DB-IP, IPinfo or others like them, at most 512 MiB; it is read into memory, and again when the file is replaced. Without one, places are networks (docs/outbound.md).", live: true},
	{path: "outbound.max_accounts", doc: "Accounts that a process remembers, about 2 to 12 kB each; the least recently sending give way, suspended ones never.", min: 1000, max: 10_000_000},
	{path: "outbound.spool_max_bytes", doc: "Decisions kept in a file while the database is away; more are lost from the log, not from the account.", min: 1 << 20, max: 1 << 40},
	{path: "outbound.bounces", doc: "Learns from Postfix's log which recipients do not exist (docs/bounces.md). Other Postfix hosts run `mairust bounces --follow`."},
	{path: "outbound.bounces.file", doc: "Log file of the Postfix beside this process, such as `/var/log/mail.log`; rotation is followed."},
	{path: "outbound.bounces.journal", doc: "Reads the systemd journal instead."},
	{path: "outbound.bounces.journalctl", doc: "The program that reads it."},
	{path: "outbound.bounces.host", doc: "`myhostname` of that Postfix.", from: "what `postconf myhostname` says"},
	{path: "outbound.bounces.log_host", doc: "Takes only lines of this host, by its name in the log, where a file has those of several; empty takes all."},
	{path: "outbound.bounces.stale_after", doc: "A host whose feed is silent for so long counts as one without: `degraded: bounces`."},
	{path: "outbound.retention", doc: "How long what was sent is known; notices as long as the log."},
	{path: "outbound.retention.log_days", doc: "Each decision, with its explanation.", min: 1, max: 30},
	{path: "outbound.retention.daily_days", doc: "The sums of an account's days.", min: 1, max: 180},
	{path: "outbound.retention.history_days", doc: "Stops, limits and releases, and who did them.", min: 1, max: 365},

	{path: "outbound_whitelist", doc: "Bulk senders. Up to `max_rate` they are exempt from the limits of user, domain and tenant and do not use them up; never from suspension.", live: true},
	{path: "outbound_whitelist[].id", doc: "Names the profile in explanations.", live: true},
	{path: "outbound_whitelist[].accounts", doc: "Logins with their domain.", live: true},
	{path: "outbound_whitelist[].max_rate", doc: "Recipients, as `5000 msgs/hour` (or minute, day).", live: true},
	{path: "outbound_whitelist[].description", doc: "For people.", live: true},

	{path: "redis", doc: "What several nodes share: the outbound engine's state and counters. Off without a `url`; each node then has its own."},
	{path: "redis.url", doc: "`redis://user:password@host:6379/0`, `rediss://` with TLS, or `unix:///path`; best given as `env:NAME` or `file:PATH`.", secret: true},
	{path: "redis.prefix", doc: "Begins every key, for a Redis that others use too."},
	{path: "redis.timeout_ms", doc: "Deadline of one command; then this node goes on with what it knows itself.", min: 1, max: 10_000},

	{path: "lmtp", doc: "Takes accepted mail from Postfix and stores it."},
	{path: "lmtp.listeners", doc: "Where Postfix's `virtual_transport` or `mailbox_transport` connects.", from: "`unix:<run_dir>/lmtp.sock` and `inet:127.0.0.1:2424`"},
	{path: "lmtp.max_connections", doc: "At once on one listener; one more is told `421`.", min: 1, max: 100_000},
	{path: "lmtp.max_per_client", doc: "At once from one address; one more is told `421`. 0 is as many as `max_connections`, because Postfix is one client.", max: 100_000},
	{path: "lmtp.recipient_delimiter", doc: "Divides user and detail (`bob+lists@`), the same as Postfix's `recipient_delimiter`; `none` for no details."},
	{path: "lmtp.max_message_bytes", doc: "Announced by SIZE; 0 leaves the limit to Postfix."},
	{path: "lmtp.max_recipients", doc: "Of one transaction; Postfix sends 50 unless told otherwise.", min: 1, max: 100_000},
	{path: "lmtp.spool_memory_bytes", doc: "A longer message is spooled to a file without a name.", min: 1, max: 1 << 30},
	{path: "lmtp.spool_memory_total_bytes", doc: "When the messages of all sessions hold so much memory, further ones are spooled to files, however small.", min: 1, max: 1 << 40},
	{path: "lmtp.command_timeout", doc: "How long a client may take for its next command."},
	{path: "lmtp.data_timeout", doc: "How long a client may be silent within a message."},
	{path: "lmtp.message_timeout", doc: "Bounds one message, however slowly it drips."},
	{path: "lmtp.reply_timeout", doc: "How long a client may not read the replies that are sent to it."},
	{path: "lmtp.resolve_timeout", doc: "Bounds the lookup of one recipient."},
	{path: "lmtp.deliver_timeout", doc: "Bounds the writing; below Postfix's `lmtp_data_done_timeout` (10 minutes), or slow mail comes twice."},

	{path: "lookup", doc: "Tells Postfix which recipients exist (socketmap)."},
	{path: "lookup.listeners", doc: "Where Postfix's `socketmap:` tables connect.", from: "`unix:<run_dir>/lookup.sock` and `inet:127.0.0.1:8899`"},
	{path: "lookup.max_connections", doc: "At once on one listener; one more waits.", min: 1, max: 100_000},
	{path: "lookup.max_per_client", doc: "At once from one address; one more is closed. 0 is as many as `max_connections`, because Postfix is one client.", max: 100_000},
	{path: "lookup.idle_timeout", doc: "Closes a connection on which nothing was asked; Postfix connects again."},
	{path: "lookup.request_timeout", doc: "Bounds one request and its answer."},

	{path: "http", doc: "The REST API."},
	{path: "http.listeners", doc: "Where clients connect.", from: "`inet:127.0.0.1:8080`"},
	{path: "http.max_connections", doc: "At once on one listener; one more is answered `503`.", min: 1, max: 1_000_000},
	{path: "http.max_per_client", doc: "At once from one address; one more is answered `503`. Raise it where a proxy is the only client.", min: 1, max: 1_000_000},
	{path: "http.public_url", doc: "How clients reach us, as `https://mail.example.com`; decides links and cookies. Must be https when a listener is reachable from other hosts; `http://127.0.0.1:8080` when empty."},

	{path: "imap", doc: "Mail programs read here; nothing can be changed by IMAP (docs/imap.md)."},
	{path: "imap.listeners", doc: "Where mail programs connect. Without TLS, passwords are taken on loopback and unix sockets only.", from: "`inet:127.0.0.1:1143`"},
	{path: "imap.max_connections", doc: "At once on one listener; one more is told `BYE`.", min: 1, max: 1_000_000},
	{path: "imap.max_per_client", doc: "At once from one address; one more is told `BYE`.", min: 1, max: 1_000_000},
	{path: "imap.cache_bytes", doc: "Bounds what is kept of parsed messages and folders, for all connections together.", min: 1 << 20, max: 1 << 40},

	{path: "ops", doc: "Metrics (`/metrics`) and health (`/health`), for the operator's network only."},
	{path: "ops.listeners", doc: "Where Prometheus and health checks connect.", from: "`inet:127.0.0.1:9925`"},

	{path: "alert", doc: "Watches database, storage, mounts, disks, listeners, clock and certificates; administrators are told once when a part fails and once when it works again."},
	{path: "alert.check_every", doc: "How often each part is looked at."},
	{path: "alert.returned_after", doc: "How long a part must work without a break before its alert ends, so that one that comes and goes is one alert."},
	{path: "alert.remind_every", doc: "Repeats the log line of an alert that goes on."},
	{path: "alert.disk_free_percent", doc: "A disk with less free space or inodes is reported, before it is full.", min: 1, max: 99},
	{path: "alert.disk_free_bytes", doc: "So is one with less free space than this.", min: 1, max: 1 << 50},

	{path: "notify", doc: "How administrators are told."},
	{path: "notify.language", doc: "Of notices about accounts.", allowed: []string{"en", "ja"}},
	{path: "notify.smtp", doc: "By mail: at most one for each change of a part, 10 minutes apart, 24 a day. Off without an `address`."},
	{path: "notify.smtp.address", doc: "`HOST:PORT` of a mail server."},
	{path: "notify.smtp.from", doc: "Sender, a plain address; replies and bounces go there."},
	{path: "notify.smtp.to", doc: "Who is told, plain addresses; not in mailboxes of this installation, which may be what fails."},
	{path: "notify.smtp.tls", doc: "`starttls` is required, not merely tried; `auto` is `none` to a server on this host, else `starttls`.", allowed: []string{"auto", "none", "starttls", "implicit"}},
	{path: "notify.smtp.username", doc: "Logs in when it is not empty.", secret: true},
	{path: "notify.smtp.password", doc: "Of that login.", secret: true},
	{path: "notify.webhook", doc: "A POST for each notice about an account (docs/notices.md). Off without a `url`."},
	{path: "notify.webhook.url", doc: "Where to; redirects are not followed.", secret: true},
	{path: "notify.webhook.format", doc: "`slack` is what Slack, Mattermost and others show.", allowed: []string{"json", "slack"}},
	{path: "notify.webhook.secret", doc: "Signs the `json` form, as hooks are signed.", secret: true},
	{path: "notify.webhook.timeout", doc: "Of one request, at most a minute."},
	{path: "notify.monitor", doc: "Tells a monitor server what the engine and administrators did: event, account, counts, score, action. Off without a `url`."},
	{path: "notify.monitor.url", doc: "Where to; redirects are not followed."},
	{path: "notify.monitor.token", doc: "Sent as a bearer token when it is not empty.", secret: true},
	{path: "notify.monitor.timeout", doc: "Of one request, at most a minute."},
	{path: "notify.monitor.heartbeat", doc: "How often the monitor is told that this installation lives, so that either side sees when the other is gone; 0 is never."},

	{path: "log", doc: "The daemon's log, on standard error."},
	{path: "log.level", doc: "The least level that is written.", allowed: []string{"debug", "info", "warn", "error"}, live: true},
	{path: "log.format", doc: "`json` for machines, `text` for people.", allowed: []string{"json", "text"}},

	{path: "shutdown", doc: "How long a stop may take; a second signal ends it at once."},
	{path: "shutdown.timeout_seconds", doc: "For open sessions to end by themselves.", max: 3600},
	{path: "shutdown.drain_timeout_seconds", doc: "How long jobs, and deliveries that have not been decided, may take after that; then the process ends without them.", max: 3600},

	{path: "listeners[].address", doc: "`unix:PATH` or `inet:HOST:PORT`, as Postfix writes it; required."},
	{path: "listeners[].role", doc: "Milter only: whose mail comes in here. `local` (for `non_smtpd_milters`) never refuses a recipient.", allowed: []string{"auto", "inbound", "submission", "local"}},
	{path: "listeners[].socket_mode", doc: "Octal mode of a unix socket."},
	{path: "listeners[].socket_group", doc: "Group of a unix socket, so that Postfix may use it."},
	{path: "listeners[].allow", doc: "Networks (CIDR) that may connect; required for anything but loopback and sockets. HTTP and IMAP, where people log in, may have TLS instead."},
	{path: "listeners[].tls", doc: "How TLS begins; `starttls` is for LMTP and IMAP.", allowed: []string{"none", "starttls", "implicit"}},
	{path: "listeners[].cert", doc: "PEM file with the certificate and its chain."},
	{path: "listeners[].key", doc: "PEM file with the private key."},
}

// describe finds the table's line for a path as findings write it, such as "milter.listeners[1].address".
func describe(path string) (key, bool) {
	path = tablePath(path)
	for _, k := range keys {
		if k.path == path {
			return k, true
		}
	}
	return key{}, false
}

// tablePath turns the indexes of a path into []. It drops what stands before "listeners[]" and the "not" of
// rules, and the "previous" of storage, because the keys below are the same everywhere.
func tablePath(path string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(path, "[")
		b.WriteString(before)
		if !found {
			break
		}
		_, path, _ = strings.Cut(rest, "]")
		b.WriteString("[]")
	}
	path = strings.Replace(b.String(), "rules[].not.", "rules[].", 1)
	path = strings.Replace(path, "storage.previous.", "storage.", 1)
	if i := strings.Index(path, "listeners[]"); i > 0 {
		return path[i:]
	}
	return path
}
