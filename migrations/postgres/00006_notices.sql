-- +goose Up
-- What bounced, from the logs of Postfix hosts, until it is counted; the feeds that tell it; notices to administrators and
-- what became of them on each channel; who does the work that only one process may do; and a role for keys of Postfix hosts.

CREATE TABLE bounces (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    reported_us BIGINT NOT NULL,
    at_us       BIGINT NOT NULL,
    queue_host  TEXT COLLATE "C" NOT NULL,
    queue_id    TEXT COLLATE "C" NOT NULL,
    dsn         TEXT COLLATE "C" NOT NULL,
    rcpt_hash   BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'counted', 'unknown')),
    next_us     BIGINT
);
CREATE INDEX bounces_next ON bounces (next_us) WHERE next_us IS NOT NULL;
CREATE INDEX bounces_reported ON bounces (reported_us);

CREATE TABLE bounce_feeds (
    host      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    seen_us   BIGINT NOT NULL,
    line_us   BIGINT,
    lag_bytes BIGINT NOT NULL,
    lag_ms    BIGINT NOT NULL,
    gaps      BIGINT NOT NULL
);

CREATE TABLE notices (
    at_us     BIGINT NOT NULL,
    id        TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    account   TEXT COLLATE "C" NOT NULL,
    kind      TEXT COLLATE "C" NOT NULL,
    facts     TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'planned', 'merged')),
    merged    BIGINT NOT NULL,
    planned_us BIGINT,
    next_us    BIGINT,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX notices_next ON notices (next_us) WHERE next_us IS NOT NULL;
CREATE INDEX notices_account ON notices (tenant_id, account, at_us, id);

CREATE TABLE notice_sends (
    notice_at_us BIGINT NOT NULL,
    notice_id    TEXT COLLATE "C" NOT NULL,
    channel      TEXT COLLATE "C" NOT NULL CHECK (channel IN ('mail', 'webhook', 'monitor')),
    tenant_id    TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts     BIGINT NOT NULL,
    next_us      BIGINT,
    settled_us   BIGINT,
    error        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (notice_at_us, notice_id, channel),
    FOREIGN KEY (notice_at_us, notice_id) REFERENCES notices (at_us, id) ON DELETE CASCADE
);
CREATE INDEX notice_sends_next ON notice_sends (channel, next_us) WHERE next_us IS NOT NULL;

CREATE TABLE notice_channels (
    channel    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tried_us   BIGINT NOT NULL,
    worked_us  BIGINT,
    failing_us BIGINT,
    error      TEXT COLLATE "C" NOT NULL
);

CREATE TABLE leases (
    name     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder   TEXT COLLATE "C" NOT NULL,
    until_us BIGINT NOT NULL
);

CREATE TABLE worker_days (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    day  BIGINT NOT NULL
);

ALTER TABLE api_keys DROP CONSTRAINT api_keys_role_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_role_check CHECK (role IN ('super_admin', 'tenant_admin', 'helpdesk', 'auditor', 'postfix'));
