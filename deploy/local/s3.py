"""`python -m deploy.local.s3 HOME`: moto's S3, whose content is in memory alone while it runs.

Told to stop, it writes the content down for its next start. Killed, it has lost it: a start never goes back to an
older copy, in which people who were erased since would live again.
"""

import copyreg
import logging
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeDeleteMarker, FakeKey, s3_backends
from moto.s3.utils import _VersionedKeyStore
from werkzeug.serving import make_server

from deploy.local.home import Home, read_json
from deploy.local.process import launch

_ACCOUNT: Final = "123456789012"


def _restore(lists: list[tuple[str, list[Any]]]) -> Any:
    store = _VersionedKeyStore()
    for key, versions in lists:
        store.setlist(key, versions)
    return store


copyreg.pickle(_VersionedKeyStore, lambda store: (_restore, (list(store.lists()),)))  # by itself: latest version only

# A listing copies every version in the bucket, content and all, and moto remembers each copy for ever: 8 MB a listing
# of 1,500 objects. It only notes on the copies which one is the latest, as it may on the versions themselves.
_VERSIONS: Final[tuple[Any, ...]] = (FakeKey, FakeDeleteMarker)
for _kind in _VERSIONS:
    _kind.__deepcopy__ = lambda version, _: version


def _take_up(kept: Path) -> None:
    if not kept.exists():
        return
    backend = s3_backends[_ACCOUNT]["aws"]
    backend.buckets.update(pickle.loads(kept.read_bytes()))  # noqa: S301 - written by `_write_down`, for the owner alone
    kept.unlink()
    for name in backend.buckets:
        s3_backends.bucket_accounts[name] = ("aws", _ACCOUNT)


def _write_down(kept: Path) -> None:
    partial = kept.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(s3_backends[_ACCOUNT]["aws"].buckets))
    partial.replace(kept)


def main() -> None:
    home = Home(Path(sys.argv[1]))
    port = read_json(home.path / "ports.json")["s3"]
    kept = home.path / "data" / "s3.pickle"
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # its access log would hold object keys
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    _take_up(kept)
    server.serve_forever()
    _write_down(kept)


if __name__ == "__main__":
    launch(main)
