-- Who a request is about, sealed. Read by connectors and coordinator, each with just these grants.
CREATE SCHEMA vault;

CREATE TABLE vault.keys (
    request_id uuid NOT NULL,
    purpose    text NOT NULL CHECK (purpose IN ('subject', 'bundle', 'record', 'remainder')),
    wrapped    text NOT NULL,           -- JWE dir/A256GCM under the epoch key
    epoch      text NOT NULL,           -- kid of that epoch key
    ends_on    timestamptz,
    PRIMARY KEY (request_id, purpose)
);

-- The one round and action allowed now, or none; beside it whose request it is.
CREATE TABLE vault.permits (
    request_id uuid PRIMARY KEY,
    controller text NOT NULL,
    round      integer,
    action     text,
    CHECK ((round IS NULL) = (action IS NULL))
);

CREATE TABLE vault.identifiers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id  uuid NOT NULL,
    kind        text NOT NULL,
    standing    text NOT NULL CHECK (standing IN ('trusted', 'confirmed', 'unverified', 'set_aside')),
    found_by    text NOT NULL,          -- the store, or 'publisher'
    alone       boolean,                -- shared kinds: ties to this person alone, to others too, or nobody knows
    contested   text,                   -- the attention code a person must settle, if any
    digest      bytea NOT NULL,         -- HMAC under a key derived from the subject key: dies with it
    person_hash bytea,                  -- keyed hash per controller: pseudonymous personal data
    sealed      text NOT NULL,          -- JWE of a JSON list of values under the subject key
    UNIQUE (request_id, kind, digest)
);

-- What could not be handled: sealed by us, since a publisher may have forgotten to.
CREATE TABLE vault.dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer    text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    reason      text NOT NULL,
    request_id  uuid,
    sealed      text NOT NULL,
    epoch       text NOT NULL,
    at          timestamptz NOT NULL,
    UNIQUE (consumer, topic, partition, "offset")
);
