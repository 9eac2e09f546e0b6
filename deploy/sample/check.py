"""The check that takes nobody's word: reads the four stores before and after, and says what it finds.

It uses no connector, no inventory and no answer of Letheia. What an erasure must leave is said here again, in the
sample's own terms: invoices for ten years to the year's end, without the name.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg

from deploy.sample.model import TABLES, Holdings, Invoice, Person
from deploy.sample.stores import ClickHouse, Crm, open_s3

_CRM_PROPERTIES = {
    "contacts": ("email", "hs_additional_emails", "phone", "firstname", "lastname", "company", "jobtitle"),
    "calls": ("hs_timestamp", "hs_call_title", "hs_call_body"),
    "notes": ("hs_timestamp", "hs_note_body"),
}
_RETENTION_YEARS = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the four stores hold at one moment."""

    records: Mapping[str, str]
    """Content by place: rows and events whole, CRM records with their associations, and of each S3 version and delete
    marker the store's own MD5, size and date."""
    statements: tuple[str, ...]
    """What ClickHouse remembers of mutations."""


async def snapshot(endpoints: Mapping[str, Any]) -> Snapshot:
    """Read every table, every version, every CRM record and every event."""
    stores = endpoints["stores"]
    records: dict[str, str] = {}
    for reader in (
        _rows(stores["app"]),
        _versions(stores["recordings"]),
        _crm_records(stores["crm"]),
        _events(stores["analytics"]),
    ):
        async for place, content in reader:
            records[place] = content
    async with ClickHouse.open(stores["analytics"]) as clickhouse:
        mutations = await clickhouse.execute("select command from system.mutations format JSONEachRow")
    return Snapshot(records, tuple(mutation["command"] for mutation in mutations))


def compare(
    before: Snapshot, after: Snapshot, erased: Collection[Person], today: date, tenant: str | None = None
) -> list[str]:
    """What is wrong after these people were erased for our controller (or the customer with that tenant).

    Nothing, if what is theirs is gone, what must be retained stands there without the name, all else in the stores is
    as it was to the byte, and nothing is new.
    """
    held = Holdings.merged(person.holdings(tenant) for person in erased)
    gone, retained = set(_places(before, held)), dict(_retained(before, held, today))
    expected = {place: content for place, content in before.records.items() if place not in gone} | retained
    findings = [f"{place} has vanished" for place in expected.keys() - after.records.keys()]
    for place, content in after.records.items():
        if place not in before.records:
            findings.append(f"{place} has appeared")
        elif place not in expected:
            findings.append(f"{place} is still there")
        elif content != expected[place]:
            findings.append(f"{place} is not as it {'must be retained' if place in retained else 'was'}")
    identifiers = [identifier for person in erased for identifier in person.identifiers(tenant)]
    if any(identifier in statement for statement in after.statements for identifier in identifiers):
        findings.append("analytics: the text of a mutation holds an identifier")
    return sorted(findings)


def _places(before: Snapshot, held: Holdings) -> Iterator[str]:
    """Where holdings lie."""
    for row in held.rows:
        yield f"app/{TABLES[type(row)]}/{row.id}"
    for event in held.events:
        yield f"analytics/event/{event.id}"
    keys = {f"recordings/{stored.key}" for stored in held.objects}
    emails = {contact.properties["email"] for contact in held.crm}
    for place, content in before.records.items():
        if place.partition("@")[0] in keys:
            yield place
        if place.startswith("crm/contacts/") and (contact := json.loads(content))["properties"]["email"] in emails:
            yield place
            for kind, linked in contact.get("associations", {}).items():
                yield from (f"crm/{kind}/{link['id']}" for link in linked["results"])


def _retained(before: Snapshot, held: Holdings, today: date) -> Iterator[tuple[str, str]]:
    """What the law keeps, as it must look."""
    for row in held.rows:
        if isinstance(row, Invoice) and date(row.issued_on.year + _RETENTION_YEARS, 12, 31) >= today:
            place = f"app/invoice/{row.id}"
            yield place, _canonical(json.loads(before.records[place]) | {"contact_name": None})


async def _rows(endpoint: Mapping[str, Any]) -> AsyncIterator[tuple[str, str]]:
    connection = await asyncpg.connect(endpoint["url"])
    try:
        tables = await connection.fetch(
            "select relname, oid::regclass::text as name from pg_class where relkind = 'r' and relpersistence = 'p'"
            " and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        )
        for table in tables:
            for (text,) in await connection.fetch(f"select to_jsonb(t)::text from {table['name']} t"):  # noqa: S608 - quoted by regclass
                row = json.loads(text)
                yield f"app/{table['relname']}/{row.get('id', text)}", _canonical(row)
    finally:
        await connection.close()


async def _versions(endpoint: Mapping[str, Any]) -> AsyncIterator[tuple[str, str]]:
    bucket = endpoint["bucket"]
    async with open_s3(endpoint) as s3:
        async for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
                yield f"recordings/{version['Key']}@{version['VersionId']}", _canonical(version)
        async for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for upload in page.get("Uploads", []):
                yield f"recordings/{upload['Key']}@upload-{upload['UploadId']}", _canonical(upload)


async def _crm_records(endpoint: Mapping[str, Any]) -> AsyncIterator[tuple[str, str]]:
    async with Crm.open(endpoint) as crm:
        for archived in ("false", "true"):  # a contact in the recycle bin can be restored: it is not erased
            linked = {"associations": "calls,notes", "archived": archived}
            async for record in crm.all("contacts", _CRM_PROPERTIES["contacts"], **linked):
                yield f"crm/contacts/{record['id']}", _canonical(record)
        for kind in ("calls", "notes"):
            async for record in crm.all(kind, _CRM_PROPERTIES[kind]):
                yield f"crm/{kind}/{record['id']}", _canonical(record)


async def _events(endpoint: Mapping[str, Any]) -> AsyncIterator[tuple[str, str]]:
    async with ClickHouse.open(endpoint) as clickhouse:
        query = "select name from system.tables where database = currentDatabase() format JSONEachRow"
        for table in await clickhouse.execute(query):
            for row in await clickhouse.execute(f"select * from `{table['name']}` format JSONEachRow"):  # noqa: S608 - a name the store gave
                yield f"analytics/{table['name']}/{row.get('id', _canonical(row))}", _canonical(row)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
