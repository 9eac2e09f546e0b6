"""The one file that imports the SDK of S3."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import unquote_plus

import aioboto3
from aiohttp import ClientError as BodyError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from services.kit.objects.port import (
    AccessDenied,
    BucketMissing,
    Lock,
    ObjectExists,
    ObjectMissing,
    ObjectsError,
    Refusal,
    Unavailable,
    Upload,
    Version,
)
from services.kit.settings import Settings

_PART: Final = 8 << 20
"""Bytes of a part; S3 wants 5 MiB at least and takes 10,000 of them."""
_CHUNK: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Access:
    """How S3 is reached."""

    region: str
    endpoint: str | None = None
    """None: the vendor's own, by region."""
    key_id: str | None = None
    """None: whatever the machine's role grants."""
    secret: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say."""
        secret = settings.aws_secret_access_key
        return cls(
            settings.s3_region,
            settings.s3_endpoint,
            settings.aws_access_key_id,
            secret.get_secret_value() if secret else None,
        )


@asynccontextmanager
async def open_bucket(name: str, access: Access) -> AsyncIterator["S3Bucket"]:
    """A bucket of S3, or of a store that speaks like it. Nothing is asked of it yet."""
    async with open_client(access) as client:
        yield S3Bucket(client, name)


@asynccontextmanager
async def open_client(access: Access) -> AsyncIterator[Any]:
    """The SDK's own client, for whoever makes or checks what no service may: hidden objects, forgotten uploads."""
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=16,
        s3={"addressing_style": "path" if access.endpoint else "auto"},
        # Checksums beyond what S3 itself demands are refused by several stores that speak like it.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = aioboto3.Session(access.key_id, access.secret, region_name=access.region)
    async with session.client("s3", endpoint_url=access.endpoint, config=config) as client:
        yield client


class S3Bucket:
    """A `Bucket` of S3."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self.name = client, name

    async def create(self, *, versioned: bool = False, locks: bool = False) -> None:
        """Make the bucket; one that is ours already is left as it is. Locks bring versions with them."""
        region = self._client.meta.region_name
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            await self._call("create_bucket", ObjectLockEnabledForBucket=locks, **place)
        except ObjectExists:
            return
        if versioned and not locks:
            await self._call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    async def put(self, key: str, content: AsyncIterator[bytes], *, overwrite: bool = False) -> None:
        condition = {} if overwrite else {"IfNoneMatch": "*"}
        parts = _parts(content)
        first = await anext(parts, b"")
        if len(first) < _PART:
            await self._call("put_object", Key=key, Body=first, **condition)
            return
        started = await self._call("create_multipart_upload", Key=key)
        upload = {"Key": key, "UploadId": started["UploadId"]}
        try:
            number, part, done = 0, first, []
            while part:
                number += 1
                sent = await self._call("upload_part", **upload, PartNumber=number, Body=part)
                done.append({"ETag": sent["ETag"], "PartNumber": number})
                part = await anext(parts, b"")
            await self._call("complete_multipart_upload", **upload, MultipartUpload={"Parts": done}, **condition)
        except BaseException:
            await self.abort(Upload(key, started["UploadId"]))
            raise

    async def get(self, key: str, version_id: str | None = None) -> AsyncIterator[bytes]:
        which = {"VersionId": version_id} if version_id else {}
        answer = await self._call("get_object", Key=key, **which)
        body = answer["Body"]
        async with body:
            while True:
                with _typed_errors():
                    chunk: bytes = await body.read(_CHUNK)
                if not chunk:
                    return
                yield chunk

    async def versions(self, prefix: str) -> AsyncIterator[Version]:
        # botocore asks for url-encoded keys in this listing by itself, and decodes them.
        async for page in self._pages("list_object_versions", prefix):
            for kind in ("Versions", "DeleteMarkers"):
                for entry in page.get(kind, ()):
                    yield Version(
                        entry["Key"],
                        entry["VersionId"],
                        entry.get("Size", 0),
                        entry["LastModified"],
                        entry["IsLatest"],
                        kind == "DeleteMarkers",
                    )

    async def uploads(self, prefix: str) -> AsyncIterator[Upload]:
        async for page in self._pages("list_multipart_uploads", prefix, EncodingType="url"):
            decode = unquote_plus if page.get("EncodingType") == "url" else str
            for entry in page.get("Uploads", ()):
                yield Upload(decode(entry["Key"]), entry["UploadId"])

    async def delete(self, versions: Sequence[Version]) -> Sequence[Refusal]:
        if not versions:
            return []
        objects = [{"Key": version.key, "VersionId": version.id} for version in versions]
        try:
            answer = await self._call("delete_objects", Delete={"Objects": objects, "Quiet": False})
        except ObjectsError as error:
            if type(error) is not ObjectsError:
                raise
            if len(versions) == 1:
                return [Refusal(versions[0], error)]
            half = len(versions) // 2
            return [*await self.delete(versions[:half]), *await self.delete(versions[half:])]
        return _refusals(versions, answer)

    async def abort(self, upload: Upload) -> None:
        try:
            await self._call("abort_multipart_upload", Key=upload.key, UploadId=upload.id)
        except ObjectMissing:
            return

    async def has_locks(self) -> bool:
        try:
            answer = await self._call("get_object_lock_configuration")
        except _NoLocks:
            return False
        return bool(answer["ObjectLockConfiguration"].get("ObjectLockEnabled"))

    async def lock(self, version: Version) -> Lock | None:
        if version.marker:
            return None
        try:
            answer = await self._call("head_object", Key=version.key, VersionId=version.id)
        except ObjectMissing:
            return None
        if answer.get("ObjectLockLegalHoldStatus") == "ON":
            return Lock(None)
        until = answer.get("ObjectLockRetainUntilDate")
        return Lock(until) if until else None

    async def region(self) -> str | None:
        try:
            answer = await self._call("head_bucket")
        except ObjectMissing:
            raise BucketMissing from None
        region: str | None = answer.get("BucketRegion")
        return region

    async def _call(self, operation: str, **how: Any) -> Mapping[str, Any]:
        with _typed_errors():
            answer: Mapping[str, Any] = await getattr(self._client, operation)(Bucket=self.name, **how)
            return answer

    async def _pages(self, operation: str, prefix: str, **how: Any) -> AsyncIterator[Mapping[str, Any]]:
        pages = self._client.get_paginator(operation).paginate(Bucket=self.name, Prefix=prefix, **how)
        with _typed_errors():
            async for page in pages:
                yield page


async def _parts(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The content in pieces of exactly `_PART`; the last is smaller, or missing."""
    waiting = bytearray()
    async for chunk in content:
        waiting += chunk
        while len(waiting) >= _PART:
            yield bytes(waiting[:_PART])
            del waiting[:_PART]
    if waiting:
        yield bytes(waiting)


def _refusals(versions: Sequence[Version], answer: Mapping[str, Any]) -> list[Refusal]:
    """What is not said to be deleted; some stores name only the key of what they refuse, or nothing at all."""
    deleted = {(entry["Key"], entry.get("VersionId") or "null") for entry in answer.get("Deleted", ())}
    codes = {(entry["Key"], entry.get("VersionId")): entry["Code"] for entry in answer.get("Errors", ())}
    refused = [version for version in versions if (version.key, version.id) not in deleted]
    named = [codes.get((v.key, v.id)) or codes.get((v.key, None)) or "InternalError" for v in refused]
    errors = [_error_of(code, 0) for code in named]
    return [
        Refusal(version, error)
        for version, error in zip(refused, errors, strict=True)
        if not isinstance(error, ObjectMissing)
    ]


class _NoLocks(ObjectsError):
    """Asked for the locks of a bucket that can have none, or of a store that knows none."""


_BY_CODE: Final[Mapping[str, type[ObjectsError]]] = {
    "NoSuchBucket": BucketMissing,
    "NoSuchKey": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "NoSuchUpload": ObjectMissing,
    "404": ObjectMissing,  # an answer to HEAD has no body that would say of what
    "PreconditionFailed": ObjectExists,
    "BucketAlreadyOwnedByYou": ObjectExists,
    "AccessDenied": AccessDenied,
    "InternalError": Unavailable,
    "ServiceUnavailable": Unavailable,
    "SlowDown": Unavailable,
    "RequestTimeout": Unavailable,
    "ObjectLockConfigurationNotFoundError": _NoLocks,
    "NotImplemented": _NoLocks,
}


def _error_of(code: str, status: int) -> ObjectsError:
    if code in _BY_CODE:
        return _BY_CODE[code]()
    if status in (401, 403):
        return AccessDenied()
    return Unavailable() if status in (409, 429) or status >= 500 else ObjectsError()


@contextmanager
def _typed_errors() -> Iterator[None]:
    # `from None`: the vendor's errors quote keys, and a logged traceback would show them.
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _error_of(error.response["Error"]["Code"], status) from None
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError):
        raise AccessDenied from None
    except (ConnectionError, HTTPClientError, IncompleteReadError, BodyError, TimeoutError):
        raise Unavailable from None
    except BotoCoreError:
        raise ObjectsError from None
