"""The AsyncAPI 3 document: which topic carries what, in which envelope, and who sends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from contracts.topics import POLICIES, TO_HEADER, MessageType, Topic

_JSON_SCHEMA: Final = "application/schema+json;version=draft-2020-12"
_KAFKA_BINDING: Final = "0.5.0"


@dataclass(frozen=True, slots=True)
class _Carried:
    """A message on its topic. `schema` names its file; `sealed` that of what lies inside the seal."""

    type: MessageType
    topic: Topic
    schema: str
    summary: str
    sealed: str | None = None

    @property
    def name(self) -> str:
        """`letheia.TaskIssued.v1` is `TaskIssued`."""
        return self.type.value.split(".")[1]


_CARRIED: Final = (
    _Carried(
        MessageType.REQUEST_SUBMITTED,
        Topic.REQUESTS,
        "SealedMessage",
        "A person's request, signed and sealed",
        "Submission",
    ),
    _Carried(
        MessageType.REQUEST_AMENDED,
        Topic.REQUESTS,
        "SealedMessage",
        "A decision on a request, signed and sealed",
        "Amendment",
    ),
    _Carried(MessageType.TASK_ISSUED, Topic.TASKS, "TaskIssued", "One thing to do in one store"),
    _Carried(MessageType.TASK_REPORTED, Topic.REPORTS, "TaskReported", "How a task went: counts and codes"),
    _Carried(MessageType.STATUS_CHANGED, Topic.STATUS, "StatusChanged", "How a request stands"),
)

_OPERATIONS: Final = {
    "hearRequest": ("receive", Topic.REQUESTS, "The coordinator takes requests and amendments from publishers"),
    "issueTask": ("send", Topic.TASKS, "The coordinator asks a store's connector"),
    "takeTask": ("receive", Topic.TASKS, f"A connector takes the tasks whose `{TO_HEADER}` names its store"),
    "reportTask": ("send", Topic.REPORTS, "A connector answers"),
    "hearReport": ("receive", Topic.REPORTS, "The coordinator takes the answers"),
    "announceStatus": ("send", Topic.STATUS, "The coordinator tells whoever follows"),
}


def asyncapi() -> dict[str, Any]:
    """The whole document; messages refer to the JSON Schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:letheia:v1",
        "info": {
            "title": "Letheia",
            "version": "1",
            "description": "Erasure and portability requests across stores. Every message is keyed by its request id.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name.lower(): _channel(topic) for topic in Topic},
        "operations": {name: _operation(*parts) for name, parts in _OPERATIONS.items()},
        "components": {"messages": {carried.name: _message(carried) for carried in _CARRIED}},
    }


def _on(topic: Topic) -> Iterable[_Carried]:
    return (carried for carried in _CARRIED if carried.topic is topic)


def _channel(topic: Topic) -> dict[str, Any]:
    policy = POLICIES[topic]
    settings: dict[str, Any] = {
        "cleanup.policy": ["compact" if policy.compacted else "delete"],
        "retention.ms": -1 if policy.retention is None else round(policy.retention.total_seconds() * 1000),
        "message.timestamp.type": "LogAppendTime" if policy.broker_time else "CreateTime",
    }
    return {
        "address": topic.value,
        "messages": {carried.name: {"$ref": f"#/components/messages/{carried.name}"} for carried in _on(topic)},
        "bindings": {"kafka": {"topicConfiguration": settings, "bindingVersion": _KAFKA_BINDING}},
    }


def _operation(action: str, topic: Topic, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name.lower()}"}, "summary": summary}


def _message(carried: _Carried) -> dict[str, Any]:
    inside = {"x-sealed-payload": {"$ref": f"./{carried.sealed}.json"}} if carried.sealed else {}
    return {
        "name": carried.type.value,
        "title": carried.name,
        "summary": carried.summary,
        "headers": _headers(carried),
        "payload": {"schemaFormat": _JSON_SCHEMA, "schema": {"$ref": f"./{carried.schema}.json"}},
        "correlationId": {"description": "The request", "location": "$message.payload#/request_id"},
        "bindings": {"kafka": {"key": {"type": "string", "format": "uuid"}, "bindingVersion": _KAFKA_BINDING}},
        **inside,
    }


def _headers(carried: _Carried) -> dict[str, Any]:
    """CloudEvents 1.0 in Kafka's binary mode, and W3C Trace Context."""
    required: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_type": {"const": carried.type.value},
        "ce_source": {"type": "string", "minLength": 1},
        "ce_id": {"type": "string", "minLength": 1},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
    }
    if carried.type is MessageType.TASK_ISSUED:
        required[TO_HEADER] = {"type": "string", "description": "The store it is for"}
    optional = {"traceparent": {"type": "string", "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"}}
    return {"type": "object", "required": list(required), "properties": required | optional}
