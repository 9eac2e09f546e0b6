"""What stores that speak like S3 answer differently to a delete, and what the port makes of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from services.kit.objects import AccessDenied, ObjectsError, S3Bucket, Unavailable, Version

AT = datetime(2026, 6, 1, tzinfo=UTC)
Answer = Mapping[str, Any]


def version(key: str, id_: str = "v1") -> Version:
    return Version(key, id_, 1, AT, latest=True)


class Client:
    """S3 as far as `delete_objects`."""

    def __init__(self, answer: Callable[[list[dict[str, str]]], Answer]) -> None:
        self._answer = answer
        self.batches: list[int] = []

    async def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> Answer:
        assert Delete["Quiet"] is False
        self.batches.append(len(Delete["Objects"]))
        return self._answer(Delete["Objects"])


def refusal(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "DeleteObjects")


def deleted(objects: list[dict[str, str]]) -> list[dict[str, str]]:
    return [dict(entry) for entry in objects]


async def test_a_batch_refused_for_one_locked_version_is_split_until_only_that_one_is_refused() -> None:
    def answer(objects: list[dict[str, str]]) -> Answer:
        if any(entry["Key"] == "700" for entry in objects):
            raise refusal("InvalidRequest", 400)
        return {"Deleted": deleted(objects)}

    client = Client(answer)
    refused = await S3Bucket(client, "b").delete([version(str(number)) for number in range(1000)])

    assert [r.version.key for r in refused] == ["700"]
    assert type(refused[0].error) is ObjectsError
    assert len(client.batches) < 25


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("AccessDenied", 403, AccessDenied), ("SlowDown", 503, Unavailable), ("BadGateway", 502, Unavailable)],
)
async def test_a_batch_refused_for_another_reason_is_not_split(code: str, status: int, error: type[Exception]) -> None:
    def answer(objects: list[dict[str, str]]) -> Answer:
        raise refusal(code, status)

    client = Client(answer)
    with pytest.raises(error):
        await S3Bucket(client, "b").delete([version("1"), version("2")])
    assert client.batches == [2]


async def test_each_key_has_an_error_of_its_own() -> None:
    def answer(objects: list[dict[str, str]]) -> Answer:
        errors = [
            {"Key": "denied", "VersionId": "v1", "Code": "AccessDenied"},
            {"Key": "by-key", "Code": "AccessDenied"},
            {"Key": "failed", "VersionId": "v1", "Code": "InternalError"},
            {"Key": "gone", "VersionId": "v1", "Code": "NoSuchVersion"},
        ]
        return {"Deleted": [{"Key": "null"}, {"Key": "by-key", "VersionId": "v2"}], "Errors": errors}

    versions = [version(key) for key in ("denied", "by-key", "failed", "gone", "passed-over")]
    refused = await S3Bucket(Client(answer), "b").delete([*versions, version("by-key", "v2"), version("null", "null")])

    assert {(r.version.key, r.version.id): type(r.error) for r in refused} == {
        ("denied", "v1"): AccessDenied,
        ("by-key", "v1"): AccessDenied,
        ("failed", "v1"): Unavailable,
        ("passed-over", "v1"): Unavailable,
    }


async def test_deleting_nothing_asks_nothing() -> None:
    client = Client(lambda _: {})
    assert await S3Bucket(client, "b").delete([]) == []
    assert client.batches == []
