-- The console's own. How requests stand it reads from the coordinator's tables; what it has to say goes out by Kafka.
CREATE SCHEMA console;

CREATE TABLE console.outbox (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic   text NOT NULL,
    key     uuid NOT NULL,
    headers jsonb NOT NULL,
    value   text
);

-- Which principal asked the console to sign a request: that principal may follow it.
CREATE TABLE console.submissions (
    request_id uuid PRIMARY KEY,
    principal  text NOT NULL,
    at         timestamptz NOT NULL
);

-- Bundles picked up, to their last byte.
CREATE TABLE console.fetches (
    request_id uuid NOT NULL,
    at         timestamptz NOT NULL,
    principal  text NOT NULL
);
CREATE INDEX ON console.fetches (request_id);

GRANT USAGE ON SCHEMA console TO letheia_console;
GRANT SELECT, INSERT, DELETE ON console.outbox TO letheia_console;
GRANT SELECT, INSERT ON console.submissions, console.fetches TO letheia_console;
ALTER ROLE letheia_console SET search_path = console;
