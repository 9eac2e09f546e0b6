"""Sign, then seal: how a request crosses the bus unread and unforged.

A publisher signs its payload (compact JWS, EdDSA or ES256) and seals that JWS to Letheia's receiving key (compact
JWE, ECDH-ES+A256KW with A256GCM). The order matters: a signature inside the seal names nobody to a reader of the bus,
and whoever can write to the topic still can't ask in another's name. Sources: RFC 7515, 7516, 8037.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jwe, jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey
from joserfc.jws import JWSRegistry

from contracts.base import Message
from contracts.reports import TaskReported

SIGNING: Final = ["EdDSA", "Ed25519", "ES256"]
SEALING: Final = ["ECDH-ES+A256KW", "A256GCM"]
DIRECT: Final = ["dir", "A256GCM"]
Key = ECKey | OKPKey


class _Signatures(JWSRegistry):
    """Takes `EdDSA` and its newer name `Ed25519` (RFC 9864) alike, without a warning for each message."""

    max_payload_length = 1_000_000

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in SIGNING:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not supported")
        return self.algorithms[name]


class _Seals(JWERegistry):
    """By default the library seals any size and refuses to open more than 64 KB of it again."""

    max_ciphertext_length = 1 << 26


_SIGNATURES: Final = _Signatures()
_SEALS: Final = _Seals(algorithms=SEALING)
_DIRECT: Final = _Seals(algorithms=DIRECT)


class SealError(ValueError):
    """A message that can't be opened or verified. `code` says why; the text holds nothing of the message."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Opened:
    """What lay inside a seal: the signer's key id and the payload as decoded JSON."""

    kid: str
    payload: Any = field(repr=False)


def seal(payload: Message, signing_key: Key, receiving_key: Key) -> str:
    """Sign `payload` and seal it; both keys carry a `kid`."""
    body = payload.model_dump_json(exclude_none=True).encode()
    algorithm = "ES256" if isinstance(signing_key, ECKey) else "EdDSA"
    signed = jws.serialize_compact({"alg": algorithm, "kid": signing_key.kid}, body, signing_key, registry=_SIGNATURES)
    protected = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": receiving_key.kid}
    return jwe.encrypt_compact(protected, signed.encode(), receiving_key, registry=_SEALS)


def open_sealed(sealed: str, receiving: KeySet, publisher_key: Callable[[str], Key | None]) -> Opened:
    """Open a seal and verify the signature in it; `publisher_key` finds a publisher's public key by `kid`.

    Raises `SealError`: `sealed_to_another_key`, `unknown_publisher`, `bad_signature`, `undecodable`.
    """
    try:
        signed = jwe.decrypt_compact(sealed, receiving, registry=_SEALS).plaintext or b""
    except Exception:  # hostile headers end in any error the library's own code can make; their texts quote
        raise SealError("sealed_to_another_key") from None
    try:
        token = jws.extract_compact(signed, registry=_SIGNATURES)
        kid = str(token.headers()["kid"])
    except Exception:
        raise SealError("bad_signature") from None
    key = publisher_key(kid)
    if key is None:
        raise SealError("unknown_publisher")
    try:
        verified = jws.deserialize_compact(signed, key, registry=_SIGNATURES)
    except Exception:
        raise SealError("bad_signature") from None
    try:
        return Opened(kid, json.loads(verified.payload))
    except (ValueError, RecursionError):
        raise SealError("undecodable") from None


def seal_direct(data: bytes, key: OctKey) -> str:
    """Seal with a symmetric key (JWE `dir`, A256GCM), for what Letheia keeps at rest."""
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, data, key, registry=_DIRECT)


def open_direct(sealed: str, key: OctKey) -> bytes:
    """Open what `seal_direct` sealed. Raises `SealError` (`wrong_key`)."""
    try:
        return jwe.decrypt_compact(sealed, key, registry=_DIRECT).plaintext or b""
    except (JoseError, ValueError) as error:
        raise SealError("wrong_key") from error


def derive(key: OctKey, purpose: str) -> bytes:
    """A 32-byte key of its own for one purpose (HMAC-SHA-256 as the expand step of RFC 5869)."""
    return hmac.digest(key.raw_value, b"letheia/" + purpose.encode() + b"\x01", "sha256")


def canonical(value: Mapping[str, Any]) -> bytes:
    """One byte form for equal JSON values, for digests: sorted names, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")


def report_mac(report: TaskReported, subject_key: OctKey) -> str:
    """The MAC of a report under a key derived from the request's subject key, so that nobody on the bus can 'prove'."""
    return _mac(report.model_dump(mode="json"), subject_key)


def is_genuine(body: Mapping[str, Any], subject_key: OctKey) -> bool:
    """True if a report, as decoded JSON, bears the MAC of all it says, fields that a newer Letheia wrote included."""
    return hmac.compare_digest(str(body.get("mac")).encode(errors="replace"), _mac(body, subject_key).encode())


def _mac(body: Mapping[str, Any], subject_key: OctKey) -> str:
    said = canonical({name: value for name, value in body.items() if name != "mac"})
    return hmac.new(derive(subject_key, "report"), said, hashlib.sha256).hexdigest()
