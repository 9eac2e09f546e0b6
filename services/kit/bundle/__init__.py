"""The portable copy: members written encrypted, read back, and streamed as a ZIP when they are fetched."""

from services.kit.bundle.age import Damaged, identity
from services.kit.bundle.archive import Copy, stream_zip
from services.kit.bundle.store import delete_bundle, read_member, write_member

__all__ = ["Copy", "Damaged", "delete_bundle", "identity", "read_member", "stream_zip", "write_member"]
