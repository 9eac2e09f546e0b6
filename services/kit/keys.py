"""Letheia's own keys, from files outside Postgres: epoch keys, receiving keys, the hash key."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey

from contracts.sealing import Key, canonical, derive, open_direct, seal_direct
from services.kit.errors import LetheiaError


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LetheiaError(f"key file {path} can't be read ({error.strerror}): put it there, mode 0600") from error


def key_of(jwk: dict[str, Any]) -> Key:
    """A JWK of type OKP or EC, private or public."""
    return OKPKey.import_key(jwk) if jwk["kty"] == "OKP" else ECKey.import_key(jwk)


def private_key(path: Path) -> Key:
    """A publisher's signing key."""
    return key_of(json.loads(_read(path)))


def receiving_keys(folder: Path) -> KeySet:
    """The private halves of the keys that requests are sealed to, current and next."""
    return KeySet.import_key_set(json.loads(_read(folder / "receiving.jwks")))


def public_key_set(folder: Path) -> dict[str, Any]:
    """What `/.well-known/jwks.json` shows: the receiving keys' public halves, current first."""
    keys = json.loads(_read(folder / "receiving.jwks"))["keys"]
    return {"keys": [{k: v for k, v in key.items() if k != "d"} for key in keys]}


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that wrap and hash what rests in Postgres."""

    epochs: Mapping[str, OctKey]
    current: str
    """The epoch that wraps what is new."""
    hash_key: OctKey

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From `epoch.jwks` (the first key is the current one) and `hash.key` (32 bytes, hexadecimal)."""
        epochs = [OctKey.import_key(key) for key in json.loads(_read(folder / "epoch.jwks"))["keys"]]
        hash_key = OctKey.import_key(bytes.fromhex(_read(folder / "hash.key").strip()))
        return cls({str(key.kid): key for key in epochs}, str(epochs[0].kid), hash_key)

    def wrap(self, key: OctKey) -> tuple[str, str]:
        """A key under the current epoch key, and that epoch's id."""
        return seal_direct(key.raw_value, self.epochs[self.current]), self.current

    def unwrap(self, wrapped: str, epoch: str) -> OctKey:
        """The key again. Raises `LetheiaError` when its epoch key is gone."""
        return OctKey.import_key(open_direct(wrapped, self._epoch(epoch)))

    def seal(self, data: bytes) -> tuple[str, str]:
        """Data of ours that belongs to no request (dead letters), under a key derived from the current epoch."""
        return seal_direct(data, self._letters(self.current)), self.current

    def open(self, sealed: str, epoch: str) -> bytes:
        """What `seal` sealed."""
        return open_direct(sealed, self._letters(epoch))

    def person_hash(self, controller: str, kind: str, value: str) -> bytes:
        """Recognises a person again, per controller. Pseudonymous personal data."""
        return self._hash(f"person/{controller}", f"{kind}\x00{value.casefold()}".encode())

    def content_digest(self, content: Mapping[str, Any]) -> bytes:
        """Recognises the same submission again."""
        return self._hash("content", canonical(content))

    def _hash(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(derive(self.hash_key, purpose), data, "sha256")

    def _epoch(self, epoch: str) -> OctKey:
        try:
            return self.epochs[epoch]
        except KeyError:
            raise LetheiaError(
                f"epoch key {epoch} is not in epoch.jwks: it was destroyed, or not copied here"
            ) from None

    def _letters(self, epoch: str) -> OctKey:
        return OctKey.import_key(derive(self._epoch(epoch), "dead-letters"))
