"""Copies tasks from the bus into the inbox. The only file that knows Faust.

Faust acknowledges an event whose agent raised, and with `concurrency > 1` can commit past one still in flight (FACTS
A1). So the agent does one short thing, one event at a time, again and again until it is stored, and lets nothing out.
What Faust might still lose, the coordinator's timer issues again.
"""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import faust

from contracts.envelope import header
from contracts.tasks import TaskIssued, task_id
from contracts.topics import TO_HEADER, Topic
from services.connectors import queue
from services.kit.clock import Clock
from services.kit.dead_letters import dead_letter
from services.kit.kafka import Backlog, RawRecord, backlogs
from services.kit.keys import Keyring
from services.kit.postgres import Pool, patiently
from services.kit.telemetry import log

_LOOK_EVERY_S: Final = 5.0
_PATIENCE: Final = timedelta(seconds=45)
"""Longer than a rebalance takes, or a broker that was away to be found again."""
_STOP_S: Final = 10.0
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Unusable(Exception):
    """A record that is no task of this store. `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_task(record: RawRecord, store: str) -> TaskIssued:
    """The task in a record. Raises `Unusable`: `undecodable`, or `forged_task` when its id is not what it asks.

    A forged id must not take the row of the genuine task that bears it.
    """
    try:
        task = TaskIssued.read(json.loads(record.value or b""))
    except Exception:  # whatever decoding hostile bytes may end in
        raise Unusable("undecodable") from None
    if (task.store, task.task_id) != (store, task_id(task.request_id, task.round, store, task.action, task.attempt)):
        raise Unusable("forged_task")
    return task


class Watch:
    """Tells a consumer that has stalled: in some partition records wait, and none of them was committed for long."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, datetime]] = {}

    def stalled(self, backlog: Mapping[int, Backlog], now: datetime) -> bool:
        """Look again."""
        before, self._seen = self._seen, {}
        for partition, its in backlog.items():
            committed, since = before.get(partition, (None, now))
            moving = its.committed >= its.end or its.committed != committed
            self._seen[partition] = (its.committed, now if moving else since)
        return any(now - since >= _PATIENCE for _, since in self._seen.values())


class Inbox:
    """The consumer of one store's tasks."""

    def __init__(self, store: str, bootstrap: str, pool: Pool, keyring: Keyring, clock: Clock) -> None:
        self._store = store
        self._group = f"letheia.connector.{store}"
        self._bootstrap = bootstrap
        self._pool = pool
        self._keyring = keyring
        self._clock = clock
        self._app: Any = None
        self._waiting = False  # for the database

    def ready(self) -> bool:
        """True while partitions are assigned."""
        return bool(self._assigned())

    async def loop(self) -> None:
        """Consume until Faust ends; raises then, to be started anew."""
        with tempfile.TemporaryDirectory() as folder:
            app = self._make_app(folder)
            try:
                await app.start()
                self._app = app
                await app.wait_until_stopped()
                raise RuntimeError("Faust ended by itself")
            finally:
                self._app = None
                await asyncio.wait_for(app.stop(), _STOP_S)

    async def watch(self) -> None:
        """End the process when Faust has stopped fetching or committing without a word, as it is known to (FACTS A2).

        At once and not gracefully, since that would wait for threads that are stuck: all that matters is in Postgres,
        and the supervisor starts the service again.
        """
        watch = Watch()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            known = await backlogs(self._bootstrap, Topic.TASKS, self._group)
            mine = {partition: known[partition] for partition in known.keys() & self._assigned() or known}
            if self._waiting:
                watch = Watch()
            elif watch.stalled(mine, self._clock.now()):
                log("consumer_stalled", store=self._store)
                os._exit(os.EX_SOFTWARE)

    def _assigned(self) -> frozenset[int]:
        consumer = self._app.consumer if self._app is not None else None
        return frozenset(partition.partition for partition in consumer.assignment()) if consumer else frozenset()

    def _make_app(self, folder: str) -> Any:
        app = faust.App(
            self._group,
            broker=";".join(f"kafka://{server}" for server in self._bootstrap.split(",")),
            datadir=folder,
            store="memory://",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            broker_commit_every=1,
            broker_commit_interval=1.0,
            broker_session_timeout=10,
            broker_heartbeat_interval=2,
            broker_request_timeout=15,
            consumer_metadata_max_age_ms=30_000,  # a topic made after us is seen by then
            stream_buffer_maxsize=16,
            stream_wait_empty=False,  # a hung handler would hang the rebalance; redelivery is harmless
        )
        topic = app.topic(
            Topic.TASKS.value, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        app.agent(topic, name="inbox")(self._agent)
        app.loop = asyncio.get_running_loop()
        app.finalize()
        return app

    async def _agent(self, stream: Any) -> None:
        async for event in stream.events():
            await self.keep(_record(event.message))

    async def keep(self, record: RawRecord) -> None:
        """Store what one record asks of this store; while that fails, try again. Never raises."""
        if header(record.headers, TO_HEADER) != self._store:
            return

        try:
            await patiently(partial(self._store_one, record), (Exception,))
        finally:
            self._waiting = False

    async def _store_one(self, record: RawRecord) -> None:
        self._waiting, now = True, self._clock.now()
        async with self._pool.acquire() as db:
            try:
                task = read_task(record, self._store)
            except Unusable as unusable:
                await dead_letter(db, self._keyring, self._group, record, unusable.code, _request_id(record), now)
                return
            traceparent = header(record.headers, "traceparent") or ""
            known = traceparent if _TRACEPARENT.fullmatch(traceparent) else None
            await queue.accept(db, self._group, task, known, now)


def _request_id(record: RawRecord) -> UUID | None:
    with suppress(ValueError):
        return UUID((record.key or b"").decode())
    return None


def _record(message: Any) -> RawRecord:
    headers = tuple((name, value) for name, value in message.headers or () if value is not None)
    at = datetime.fromtimestamp(message.timestamp, UTC)
    return RawRecord(message.topic, message.partition, message.offset, at, message.key, message.value, headers)
