"""Object storage as connectors meet it: its failures as the port's, and the bundle that they write to."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.reports import Member
from services.connectors.port import Terminal, Transient
from services.kit.bundle import Damaged, write_member
from services.kit.objects import Bucket, ObjectExists, ObjectMissing, ObjectsError, Unavailable


def failure_of(error: ObjectsError) -> Transient | Terminal:
    """What recovers from a failure of storage."""
    passing = isinstance(
        error, Unavailable | ObjectMissing | ObjectExists
    )  # an object came or went since it was listed
    return Transient(error.code) if passing else Terminal(error.code)


class RequestBundle:
    """The `BundleWriter` of one task: one request, round and store."""

    def __init__(
        self, bucket: Bucket, key: OctKey, request_id: UUID, round_: int, store: str, new_id: Callable[[], UUID]
    ) -> None:
        self._bucket, self._key, self._new_id = bucket, key, new_id
        self._prefix = f"{request_id}/{round_}/{store}/"

    async def write(self, name: str, category: str, content: AsyncIterator[bytes], *, review: bool = False) -> Member:
        """As the port says. Each call makes an object of its own: an attempt that failed leaves its objects behind,
        under the request's prefix, and never disturbs the next."""
        object_ = f"{self._prefix}{self._new_id()}"
        member = Member(name=name, category=category, size=0, sha256="", review=review, object=object_)
        try:
            return await write_member(self._bucket, self._key, member, content)
        except ObjectsError as error:
            raise failure_of(error) from error
        except Damaged:
            raise Transient("bundle_damaged") from None
