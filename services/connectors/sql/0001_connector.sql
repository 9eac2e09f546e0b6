-- One connector's own: its inbox and its outbox. Ids, counts and codes; no personal data.
CREATE SCHEMA "{schema}";

CREATE TABLE "{schema}".inbox (
    task_id     uuid PRIMARY KEY,
    task        jsonb NOT NULL,         -- contracts.tasks.TaskIssued
    action      text NOT NULL,
    due_at      timestamptz NOT NULL,
    traceparent text,
    state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'claimed', 'done')),
    token       uuid,                   -- of the worker that holds it
    lease_until timestamptz,
    report      jsonb,                  -- contracts.reports.TaskReported; null where nothing could be said
    at          timestamptz NOT NULL,   -- when it came
    told_at     timestamptz NOT NULL    -- when the coordinator last had a word about it
);
CREATE INDEX ON "{schema}".inbox (action, due_at, at) WHERE state <> 'done';
CREATE INDEX ON "{schema}".inbox (token) WHERE state = 'claimed';
CREATE INDEX ON "{schema}".inbox (at) WHERE state = 'done';

CREATE TABLE "{schema}".outbox (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic   text NOT NULL,
    key     uuid NOT NULL,
    headers jsonb NOT NULL,
    value   text
);

GRANT USAGE ON SCHEMA "{schema}", vault TO "{role}";
GRANT SELECT, INSERT, UPDATE, DELETE ON "{schema}".inbox, "{schema}".outbox TO "{role}";
GRANT SELECT ON vault.keys, vault.permits TO "{role}";
GRANT SELECT, INSERT, UPDATE ON vault.identifiers TO "{role}";
GRANT INSERT ON vault.dead_letters TO "{role}";
ALTER ROLE "{role}" SET search_path = "{schema}";
