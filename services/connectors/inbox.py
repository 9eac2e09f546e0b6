"""Copies tasks from the bus into the inbox. The only file that knows Faust.

Faust acknowledges an event whose agent raised, and with `concurrency > 1` can commit past one still in flight (FACTS
A1). So the agent does one short thing, one event at a time, again and again until it is stored, and lets nothing out.
What Faust might still lose, the coordinator's timer issues again.
"""

import asyncio
import json
import tempfile
from datetime import UTC, datetime
from typing import Any, Final

import faust
from pydantic import ValidationError

from contracts.envelope import header
from contracts.tasks import TaskIssued
from contracts.topics import TO_HEADER, Topic
from services.connectors import queue
from services.kit.clock import Clock
from services.kit.dead_letters import dead_letter
from services.kit.kafka import RawRecord, lag
from services.kit.keys import Keyring
from services.kit.postgres import Pool
from services.kit.telemetry import log

_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_LOOK_EVERY_S: Final = 1.0
_STALLED_AFTER_S: Final = 60
"""Faust's consumers are known to stop fetching without a word (FACTS A2): then it is started anew."""


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

    def ready(self) -> bool:
        """True while partitions are assigned."""
        return self._app is not None and bool(self._app.consumer and self._app.consumer.assignment())

    async def loop(self) -> None:
        """Consume until Faust ends or stalls; raises then, to be started anew."""
        with tempfile.TemporaryDirectory() as folder:
            app = self._make_app(folder)
            await app.start()
            self._app = app
            try:
                await self._watch(app)
            finally:
                self._app = None
                await app.stop()

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
            await self._keep(_record(event))

    async def _keep(self, record: RawRecord) -> None:
        """Store one event; while that fails, try again. Never raises."""
        if header(record.headers, TO_HEADER) != self._store:
            return
        pause = _PAUSE_S
        while True:
            try:
                await self._store_one(record)
                return
            except Exception as error:
                log("inbox_waits", error=error, store=self._store, again_in_s=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _store_one(self, record: RawRecord) -> None:
        now = self._clock.now()
        async with self._pool.acquire() as db:
            try:
                task = TaskIssued.read(json.loads(record.value or b""))
            except (ValueError, ValidationError):
                await dead_letter(db, self._keyring, self._group, record, "undecodable", None, now)
                return
            await queue.accept(db, self._group, task, header(record.headers, "traceparent"), now)

    async def _watch(self, app: Any) -> None:
        """Until Faust stops, or does not move though there is something to read."""
        looked, seen = 0, (-1, -1)
        while not app.should_stop:
            await asyncio.sleep(_LOOK_EVERY_S)
            looked += 1
            if looked % _STALLED_AFTER_S == 0:
                behind, committed = await lag(self._bootstrap, Topic.TASKS, self._group)
                if behind and (behind, committed) >= seen and committed == seen[1]:
                    raise RuntimeError("the consumer stalled")
                seen = (behind, committed)
        raise RuntimeError("the consumer ended")


def _record(event: Any) -> RawRecord:
    message = event.message
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    at = datetime.fromtimestamp(message.timestamp, UTC)
    return RawRecord(message.topic, message.partition, message.offset, at, message.key, message.value, tuple(pairs))
