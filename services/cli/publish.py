"""`letheia submit`: a request signed, sealed and published as an internal system would."""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import IO, Any, Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from contracts.envelope import Envelope, key
from contracts.requests import GivenIdentifier, SealedMessage, Submission
from contracts.sealing import seal
from contracts.topics import MessageType, Topic
from services.cli.failures import Unreachable, WrongUsage
from services.kit.kafka import KafkaError, open_producer
from services.kit.keys import key_of

SUBJECT_FORMAT: Final = 'a JSON list [{"kind": "email", "value": "…"}, …], or an object with that list as "identifiers"'

_IDENTIFIERS: Final = TypeAdapter(tuple[GivenIdentifier, ...])


def read_subject(file: IO[str]) -> tuple[GivenIdentifier, ...]:
    """The identifiers in a file. Raises `WrongUsage`, without quoting any."""
    try:
        content = json.load(file)
        return _IDENTIFIERS.validate_python(content["identifiers"] if isinstance(content, dict) else content)
    except (ValueError, KeyError) as error:
        where = f" at {'.'.join(map(str, error.errors()[0]['loc']))}" if isinstance(error, ValidationError) else ""
        raise WrongUsage(f"the subject file can't be used{where}: it holds {SUBJECT_FORMAT}") from None


def typed(email: tuple[str, ...], phone: tuple[str, ...], ids: tuple[str, ...]) -> tuple[GivenIdentifier, ...]:
    """Identifiers typed as options. Raises `WrongUsage`."""
    pairs = [*(("email", value) for value in email), *(("phone", value) for value in phone)]
    pairs += [(kind, value) for kind, _, value in (given.partition("=") for given in ids)]
    try:
        return _IDENTIFIERS.validate_python([{"kind": kind, "value": value} for kind, value in pairs])
    except ValidationError:
        raise WrongUsage("an identifier is empty or has no kind: write --id KIND=VALUE") from None


async def publish(submission: Submission, stack: Mapping[str, Any], key_set: Any, now: datetime, id_: UUID) -> None:
    """Sign as the stack's publisher, seal to the current receiving key, send, and wait for the broker's answer."""
    publisher = stack["publisher"]
    sealed = seal(submission, key_of(publisher["key"]), key_of(key_set["keys"][0]))
    body = SealedMessage(schema_version=1, request_id=submission.request_id, sealed=sealed)
    envelope = Envelope(str(id_), publisher["name"], MessageType.REQUEST_SUBMITTED, now)
    bootstrap = stack["kafka"]["bootstrap_servers"]
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it would log, the sentence below says
    try:
        async with open_producer(bootstrap) as producer:
            value = body.model_dump_json().encode()
            await (await producer.send(Topic.REQUESTS, key(body.request_id), value, envelope.headers()))
    except KafkaError as error:
        raise Unreachable(f"Kafka at {bootstrap} took nothing ({type(error).__name__}): see `letheia ps`") from error
