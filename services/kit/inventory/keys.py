"""The publishers' public keys: whose key verifies a request is its publisher (DESIGN §3)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from contracts.sealing import Key
from services.kit.inventory.load import InventoryError
from services.kit.inventory.model import Inventory


def publisher_keys(inventory: Inventory, path: Path) -> Mapping[str, tuple[str, Key]]:
    """By key id, the publisher's name and its key. Files (JWKS, RFC 7517) lie relative to the inventory at `path`.

    Raises `InventoryError` with every problem: a file that can't be read, a key that can't verify EdDSA or ES256, a
    private key, a key id that is missing or already another key's.
    """
    keys: dict[str, tuple[str, Key]] = {}
    problems = []
    for name, publisher in inventory.publishers.items():
        file = path.parent / publisher.keys
        try:
            for kid, key in _public_keys(file):
                if kid in keys:
                    problems.append(f"{file}: key id {kid!r} is {keys[kid][0]}'s already: give each key its own")
                keys[kid] = (name, key)
        except (OSError, ValueError, JoseError) as error:
            problems.append(f"{file}: keys of publisher {name} can't be used: {error}")
    if problems:
        raise InventoryError(problems)
    return keys


def _public_keys(file: Path) -> Iterator[tuple[str, Key]]:
    document = json.loads(file.read_text())
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError('no key set (RFC 7517): write {"keys": [...]}')
    for jwk in document["keys"]:
        key = _imported(jwk if isinstance(jwk, dict) else {})
        if key.is_private:
            raise ValueError("a private key lies there: put its public half, and replace the pair")
        if not key.kid:
            raise ValueError("a key has no kid: name it, since messages say by it which key signed them")
        yield key.kid, key


def _imported(jwk: dict[str, Any]) -> Key:
    match (jwk.get("kty"), jwk.get("crv")):
        case ("OKP", "Ed25519"):
            return OKPKey.import_key(jwk)
        case ("EC", "P-256"):
            return ECKey.import_key(jwk)
    raise ValueError("a key is of another type than Ed25519 (OKP) or P-256 (EC)")
