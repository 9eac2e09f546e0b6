"""Puts samples into the four stores of a running stack, given its endpoints (INTERFACE, `letheia endpoints --json`)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import asyncpg

from deploy.sample.model import TABLES, CrmContact, Event, Row, Sample, StoredObject
from deploy.sample.stores import ClickHouse, Crm, open_s3

BUNDLES = "bundles"
"""The bucket that the sample inventory names for portable copies."""

_SCHEMA = Path(__file__).with_name("schema.sql")
_EVENT_TABLE = """
    create table if not exists event (
        id UUID, device_id String, at DateTime64(3, 'UTC'), page LowCardinality(String), ip String, seconds UInt32
    ) engine = MergeTree order by (device_id, at)
"""
_SIDE_BY_SIDE = 8


async def prepare(endpoints: Mapping[str, Any]) -> None:
    """Make tables and buckets, empty, where they are missing."""
    stores = endpoints["stores"]
    connection = await asyncpg.connect(stores["app"]["url"])
    try:
        await connection.execute(_SCHEMA.read_text())
    finally:
        await connection.close()
    await _make_buckets(stores["recordings"])
    async with ClickHouse.open(stores["analytics"]) as clickhouse:
        await clickhouse.execute(_EVENT_TABLE)


async def load(endpoints: Mapping[str, Any], sample: Sample) -> None:
    """Add a sample to prepared stores, whatever they hold already; returns when the CRM's search finds it.

    Not idempotent: a seed can be loaded once.
    """
    stores, everything = endpoints["stores"], sample.holdings
    async with asyncio.TaskGroup() as group:
        group.create_task(_load_rows(stores["app"], everything.rows))
        group.create_task(_load_objects(stores["recordings"], everything.objects))
        group.create_task(_load_crm(stores["crm"], everything.crm))
        group.create_task(_load_events(stores["analytics"], everything.events))


async def _make_buckets(endpoint: Mapping[str, Any]) -> None:
    async with open_s3(endpoint) as s3:
        present = {bucket["Name"] for bucket in (await s3.list_buckets())["Buckets"]}
        for name in {endpoint["bucket"], BUNDLES} - present:
            await s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": endpoint["region"]})
        await s3.put_bucket_versioning(Bucket=endpoint["bucket"], VersioningConfiguration={"Status": "Enabled"})


async def _load_rows(endpoint: Mapping[str, Any], rows: Sequence[Row]) -> None:
    connection = await asyncpg.connect(endpoint["url"])
    try:
        async with connection.transaction():
            for type_, table in TABLES.items():
                records = [astuple(row) for row in rows if isinstance(row, type_)]
                columns = [column.name for column in fields(type_)]
                await connection.copy_records_to_table(table, records=records, columns=columns)
    finally:
        await connection.close()


async def _load_objects(endpoint: Mapping[str, Any], objects: Iterable[StoredObject]) -> None:
    bucket, waiting = endpoint["bucket"], iter(objects)
    async with open_s3(endpoint) as s3:

        async def work() -> None:
            for stored in waiting:
                await _put(s3, bucket, stored)

        async with asyncio.TaskGroup() as group:
            for _ in range(_SIDE_BY_SIDE):
                group.create_task(work())


async def _put(s3: Any, bucket: str, stored: StoredObject) -> None:
    for content in stored.versions:
        await s3.put_object(Bucket=bucket, Key=stored.key, Body=content)
    if stored.deleted:
        await s3.delete_object(Bucket=bucket, Key=stored.key)
    if stored.unfinished:
        upload = await s3.create_multipart_upload(Bucket=bucket, Key=stored.key)
        await s3.upload_part(
            Bucket=bucket, Key=stored.key, UploadId=upload["UploadId"], PartNumber=1, Body=stored.unfinished
        )


async def _load_crm(endpoint: Mapping[str, Any], contacts: Sequence[CrmContact]) -> None:
    async with Crm.open(endpoint) as crm:
        created = await crm.create("contacts", [{"properties": contact.properties} for contact in contacts])
        ids = {record["properties"]["email"]: record["id"] for record in created}
        owners = [(ids[contact.properties["email"]], contact) for contact in contacts]
        await crm.create("calls", [_logged(call, 194, owner) for owner, contact in owners for call in contact.calls])
        await crm.create("notes", [_logged(note, 202, owner) for owner, contact in owners for note in contact.notes])
        if created:
            await crm.wait_for_index("contacts", created[-1]["id"])


def _logged(properties: Mapping[str, str], type_id: int, contact_id: str) -> dict[str, Any]:
    """A new call or note about a contact; the type is the vendor's number for the tie ("Associations v4")."""
    type_ = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}
    return {"properties": properties, "associations": [{"to": {"id": contact_id}, "types": [type_]}]}


async def _load_events(endpoint: Mapping[str, Any], events: Iterable[Event]) -> None:
    rows = [
        {"id": str(event.id), "device_id": event.device_id, "at": f"{event.at:%Y-%m-%d %H:%M:%S}", "page": event.page}
        | {"ip": event.ip, "seconds": event.seconds}
        for event in events
    ]
    if rows:
        async with ClickHouse.open(endpoint) as clickhouse:
            await clickhouse.execute("insert into event format JSONEachRow", rows)
