"""Object storage."""

from services.kit.objects.port import (
    BATCH,
    AccessDenied,
    Bucket,
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
from services.kit.objects.s3 import Access, S3Bucket, open_bucket

__all__ = [
    "BATCH",
    "Access",
    "AccessDenied",
    "Bucket",
    "BucketMissing",
    "Lock",
    "ObjectExists",
    "ObjectMissing",
    "ObjectsError",
    "Refusal",
    "S3Bucket",
    "Unavailable",
    "Upload",
    "Version",
    "open_bucket",
]
