-- +goose Up
-- The outbound policy engine: levels of accounts and domains, what was decided and why, and what other processes must learn.

CREATE TABLE changes (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us     BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    noun      TEXT NOT NULL,
    id        TEXT NOT NULL
);

CREATE TABLE outbound_accounts (
    tenant_id      TEXT NOT NULL,
    account        TEXT NOT NULL,
    level          TEXT NOT NULL DEFAULT 'normal' CHECK (level IN ('normal', 'soft_limit', 'hard_limit')),
    mode           TEXT NOT NULL DEFAULT '' CHECK (mode IN ('', 'off', 'shadow', 'enforce')),
    act            TEXT NOT NULL DEFAULT '',
    since_us       BIGINT,
    until_us       BIGINT,
    reason         TEXT NOT NULL DEFAULT '',
    ticket         TEXT NOT NULL DEFAULT '',
    actor_kind     TEXT NOT NULL DEFAULT '',
    actor          TEXT NOT NULL DEFAULT '',
    cap_per_hour   BIGINT NOT NULL DEFAULT 0,
    decision_at_us BIGINT,
    decision_id    TEXT NOT NULL DEFAULT '',
    revision       BIGINT NOT NULL DEFAULT 0,
    level_revision BIGINT NOT NULL DEFAULT 0,
    changed_us     BIGINT,
    sent_us        BIGINT,
    PRIMARY KEY (tenant_id, account)
);
CREATE INDEX outbound_accounts_account ON outbound_accounts (account, tenant_id);
CREATE INDEX outbound_accounts_changed ON outbound_accounts (tenant_id, account) WHERE revision > 0;
CREATE INDEX outbound_accounts_until ON outbound_accounts (until_us) WHERE until_us IS NOT NULL;

CREATE TABLE outbound_domains (
    tenant_id  TEXT NOT NULL,
    domain     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    ticket     TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor      TEXT NOT NULL,
    since_us   BIGINT NOT NULL,
    until_us   BIGINT,
    PRIMARY KEY (tenant_id, domain)
);

CREATE TABLE outbound_modes (
    tenant_id  TEXT NOT NULL PRIMARY KEY,
    mode       TEXT NOT NULL CHECK (mode IN ('off', 'shadow', 'enforce')),
    actor      TEXT NOT NULL,
    changed_us BIGINT NOT NULL
);

CREATE TABLE outbound_states (
    tenant_id  TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('account', 'domain', 'tenant')),
    name       TEXT NOT NULL,
    day        BIGINT NOT NULL,
    state      BLOB NOT NULL,
    revision   BIGINT NOT NULL DEFAULT 0,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (day, tenant_id, kind, name)
);
CREATE INDEX outbound_states_name ON outbound_states (tenant_id, kind, name);

CREATE TABLE outbound_decisions (
    at_us          BIGINT NOT NULL,
    id             TEXT NOT NULL,
    tenant_id      TEXT NOT NULL,
    account        TEXT NOT NULL,
    kind           TEXT NOT NULL,
    queue_host     TEXT NOT NULL,
    queue_id       TEXT NOT NULL,
    client         TEXT NOT NULL,
    mail_from      TEXT NOT NULL,
    messages       BIGINT NOT NULL,
    recipients     BIGINT NOT NULL,
    new_recipients BIGINT NOT NULL,
    refused        BIGINT NOT NULL,
    bounced        BIGINT NOT NULL,
    size_bytes     BIGINT NOT NULL,
    spam_milli     BIGINT,
    fingerprint    BIGINT NOT NULL,
    action         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    level_before   TEXT NOT NULL,
    level_after    TEXT NOT NULL,
    would          TEXT NOT NULL,
    would_level    TEXT NOT NULL,
    score_micro    BIGINT NOT NULL,
    mode           TEXT NOT NULL,
    policy_hash    TEXT NOT NULL,
    reply          TEXT NOT NULL,
    event          BLOB NOT NULL,
    explanation    TEXT NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX outbound_decisions_account ON outbound_decisions (account, at_us, id);
CREATE INDEX outbound_decisions_queue ON outbound_decisions (queue_host, queue_id, at_us) WHERE messages > 0;

CREATE TABLE outbound_daily (
    tenant_id      TEXT NOT NULL,
    account        TEXT NOT NULL,
    day            BIGINT NOT NULL,
    messages       BIGINT NOT NULL,
    recipients     BIGINT NOT NULL,
    new_recipients BIGINT NOT NULL,
    refused        BIGINT NOT NULL,
    bounced        BIGINT NOT NULL,
    limited        BIGINT NOT NULL,
    stopped        BIGINT NOT NULL,
    score_micro    BIGINT NOT NULL,
    PRIMARY KEY (account, tenant_id, day)
);
CREATE INDEX outbound_daily_day ON outbound_daily (day);

CREATE TABLE outbound_history (
    at_us          BIGINT NOT NULL,
    id             TEXT NOT NULL,
    tenant_id      TEXT NOT NULL,
    noun           TEXT NOT NULL,
    name           TEXT NOT NULL,
    act            TEXT NOT NULL,
    level_before   TEXT NOT NULL,
    level_after    TEXT NOT NULL,
    mode           TEXT NOT NULL,
    reason         TEXT NOT NULL,
    ticket         TEXT NOT NULL,
    actor_kind     TEXT NOT NULL,
    actor          TEXT NOT NULL,
    until_us       BIGINT,
    cap_per_hour   BIGINT NOT NULL,
    decision_at_us BIGINT,
    decision_id    TEXT NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX outbound_history_name ON outbound_history (name, noun, at_us, id);

CREATE TABLE outbound_profiles (
    tenant_id   TEXT NOT NULL,
    id          TEXT NOT NULL,
    accounts    TEXT NOT NULL,
    max_rate    TEXT NOT NULL,
    description TEXT NOT NULL,
    actor       TEXT NOT NULL,
    changed_us  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
