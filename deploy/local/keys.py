"""Letheia's keys and the sample publishers', made once a home. A key that exists is never made again: what it
sealed could not be opened any more."""

import json
import secrets
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import ECKey, OctKey, OKPKey

from deploy.local.home import Home, write_atomically

PUBLISHERS: Final = {"crm-portal": "publisher-crm-portal.jwk", "console": "console.jwk"}
"""Publishers of the sample inventory, and the files of their private keys. Their public halves are in `NAME.jwks`."""


def make_keys(home: Home) -> None:
    """Make what is missing, each file with mode 0600."""
    _once(home.keys / "receiving.jwks", lambda: _key_set(_receiving("current"), _receiving("next")))
    _once(home.keys / "epoch.jwks", lambda: _key_set(_epoch()))
    _once(home.keys / "hash.key", lambda: secrets.token_hex(32))
    for publisher, file in PUBLISHERS.items():
        _once(home.keys / file, lambda name=publisher: json.dumps(_signing(name)))
        private = OKPKey.import_key(publisher_key(home, publisher))
        _once(home.keys / f"{publisher}.jwks", lambda key=private: _key_set(key.as_dict(private=False)))


def publisher_key(home: Home, publisher: str) -> dict[str, Any]:
    """A publisher's private key as a JWK."""
    key: dict[str, Any] = json.loads((home.keys / PUBLISHERS[publisher]).read_text())
    return key


def _once(path: Path, content: Any) -> None:
    if not path.exists():
        write_atomically(path, content())


def _key_set(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


def _receiving(state: str) -> dict[str, Any]:
    key = ECKey.generate_key("P-256", private=True)
    return {**key.as_dict(private=True), "kid": key.thumbprint(), "use": "enc", "letheia_state": state}


def _epoch() -> dict[str, Any]:
    return {**OctKey.generate_key(256).as_dict(), "kid": f"epoch-{secrets.token_hex(4)}"}


def _signing(publisher: str) -> dict[str, Any]:
    key = OKPKey.generate_key("Ed25519", private=True)
    return {**key.as_dict(private=True), "kid": f"{publisher}-{key.thumbprint()[:8]}", "use": "sig"}
