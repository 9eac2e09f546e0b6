-- The sample company's application database. Match columns are indexed; `invoice` has no foreign key on purpose:
-- invoices are kept by law after the contact has gone.
create table if not exists contact (
    id          bigint primary key,
    email       text not null,
    phone_e164  text,
    full_name   text not null,
    company     text not null,
    job_title   text not null,
    stage       text not null,
    created_at  timestamptz not null,
    deleted_at  timestamptz
);
create index if not exists contact_email on contact (email);
create index if not exists contact_phone on contact (phone_e164);

create table if not exists device (
    id             bigint primary key,
    contact_id     bigint not null references contact,
    device_id      text not null,
    first_seen_at  timestamptz not null
);
create index if not exists device_contact on device (contact_id);
create index if not exists device_device on device (device_id);

create table if not exists own_call (
    id          uuid primary key,
    contact_id  bigint not null references contact,
    started_at  timestamptz not null,
    seconds     integer not null
);
create index if not exists own_call_contact on own_call (contact_id);

create table if not exists call (
    id            uuid primary key,
    customer_id   text not null,
    caller_e164   text not null,
    caller_email  text,
    started_at    timestamptz not null,
    seconds       integer not null
);
create index if not exists call_phone on call (caller_e164);
create index if not exists call_email on call (caller_email);

create table if not exists invoice (
    id            bigint primary key,
    contact_id    bigint not null,
    contact_name  text,
    amount_cents  bigint not null,
    issued_on     date not null
);
create index if not exists invoice_contact on invoice (contact_id);

create table if not exists applicant (
    id                 bigint primary key,
    email              text not null,
    full_name          text not null,
    job                text not null,
    typed_email        text,
    interview_call_id  uuid,
    applied_at         timestamptz not null
);
create index if not exists applicant_email on applicant (email);
