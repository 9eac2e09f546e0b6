-- The coordinator's own. The console reads some of it, and writes none.
CREATE SCHEMA coordinator;

CREATE TABLE coordinator.sagas (
    request_id uuid PRIMARY KEY,
    digest     bytea,               -- keyed digest of the submission's content; null while none could be read
    controller text,
    publisher  text,
    phase      text NOT NULL,
    attention  text,
    due_on     date NOT NULL,       -- for lists by nearest deadline
    state      jsonb NOT NULL,      -- services.coordinator.saga.state.Saga
    status     jsonb NOT NULL,      -- contracts.status.StatusDocument, what users see
    traceparent text,
    opened_at  timestamptz NOT NULL,
    closed_at  timestamptz
);
CREATE INDEX ON coordinator.sagas (due_on) WHERE phase <> 'closed';
CREATE INDEX ON coordinator.sagas (publisher, opened_at);

CREATE TABLE coordinator.journal (
    request_id uuid NOT NULL,
    seq        integer NOT NULL,
    at         timestamptz NOT NULL,
    entry      jsonb NOT NULL,      -- services.coordinator.saga.state.Entry
    previous   text NOT NULL,
    hash       text NOT NULL,       -- SHA-256 over previous, seq, at and entry
    PRIMARY KEY (request_id, seq)
);

CREATE TABLE coordinator.timers (
    request_id uuid NOT NULL,
    kind       text NOT NULL,
    key        text NOT NULL,
    due_at     timestamptz NOT NULL,
    traceparent text,
    PRIMARY KEY (request_id, kind, key)
);
CREATE INDEX ON coordinator.timers (due_at);

-- Which sagas are about the same person: keyed hashes, pseudonymous personal data.
CREATE TABLE coordinator.persons (
    hash       bytea NOT NULL,
    request_id uuid NOT NULL,
    PRIMARY KEY (hash, request_id)
);
CREATE INDEX ON coordinator.persons (request_id);

-- Amendments that came before their request: still sealed to us.
CREATE TABLE coordinator.early (
    request_id uuid NOT NULL,
    digest     bytea NOT NULL,
    record     jsonb NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (request_id, digest)
);

CREATE TABLE coordinator.bundles (
    request_id uuid PRIMARY KEY,
    members    jsonb NOT NULL,      -- {store: [contracts.reports.Member]}
    released   boolean NOT NULL DEFAULT false,
    ready_at   timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE coordinator.outbox (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic   text NOT NULL,
    key     uuid NOT NULL,
    headers jsonb NOT NULL,
    value   text
);

GRANT USAGE ON SCHEMA coordinator TO letheia_coordinator, letheia_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON coordinator.sagas, coordinator.timers, coordinator.persons,
    coordinator.early, coordinator.bundles, coordinator.outbox TO letheia_coordinator;
GRANT SELECT, INSERT ON coordinator.journal TO letheia_coordinator;     -- append-only by role
GRANT SELECT ON coordinator.sagas, coordinator.journal, coordinator.bundles TO letheia_console;

GRANT USAGE ON SCHEMA vault TO letheia_coordinator, letheia_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault.keys, vault.permits, vault.identifiers, vault.dead_letters TO letheia_coordinator;
GRANT SELECT ON vault.keys, vault.dead_letters TO letheia_console;
ALTER ROLE letheia_coordinator SET search_path = coordinator;

-- What people wrote beside a decision, sealed under the request's record key.
CREATE TABLE coordinator.notes (
    request_id  uuid NOT NULL,
    decision_id uuid PRIMARY KEY,
    sealed      text NOT NULL
);
GRANT SELECT, INSERT ON coordinator.notes TO letheia_coordinator;
