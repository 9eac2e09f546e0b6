"""Sealing: what was said comes out as it was said, and nothing else comes out at all."""

import hmac
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey

from contracts.reports import Conflict, Level, Locked, Member, Result, Retained, TaskReported
from contracts.requests import Submission
from contracts.sealing import (
    Key,
    SealError,
    derive,
    is_genuine,
    open_direct,
    open_sealed,
    report_mac,
    seal,
    seal_direct,
)
from tests.support.publisher import (
    CONSOLE,
    NEXT_RECEIVING,
    PORTAL,
    PUBLISHERS,
    RECEIVING,
    RECEIVING_KEYS,
    REQUEST,
    find_key,
    part,
    sealed_as,
    submission,
    unpart,
)

OTHER = OctKey.generate_key(256)
KEY = OctKey.generate_key(256)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda text: text.strip())
SECRET = "jeanne.doe@example.org"
PORTAL_HEADER = {"alg": "EdDSA", "kid": "portal"}


def refusal(sealed: str, receiving: KeySet = RECEIVING_KEYS) -> str:
    with pytest.raises(SealError) as caught:
        open_sealed(sealed, receiving, find_key)
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"
    return caught.value.code


def flipped(token: str, place: float, bit: int) -> str:
    """A token with one bit of its content changed."""
    parts = [bytearray(unpart(piece)) for piece in token.split(".")]
    at = int(place * sum(map(len, parts)))
    for piece in parts:
        if at < len(piece):
            piece[at] ^= 1 << bit
            break
        at -= len(piece)
    return ".".join(part(bytes(piece)) for piece in parts)


@given(values=st.lists(VALUES, min_size=1, max_size=5), key=st.sampled_from([PORTAL, CONSOLE]))
def test_what_a_publisher_says_is_what_is_opened(values: list[str], key: Key) -> None:
    said = submission(identifiers=[{"kind": "email", "value": value} for value in values])
    for receiving in (RECEIVING, NEXT_RECEIVING):
        opened = open_sealed(seal(said, key, receiving), RECEIVING_KEYS, find_key)
        assert (opened.kid, Submission.model_validate(opened.payload)) == (key.kid, said)
        assert "payload" not in repr(opened)


def test_the_largest_submission_can_be_opened() -> None:
    values = [{"kind": "email", "value": "é" * 512} for _ in range(100)]
    said = submission(identifiers=values)
    assert open_sealed(seal(said, PORTAL, RECEIVING), RECEIVING_KEYS, find_key).payload["identifiers"] == values


@settings(max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_opens_nothing(place: float, bit: int) -> None:
    assert refusal(flipped(seal(submission(), PORTAL, RECEIVING), place, bit)) == "sealed_to_another_key"
    with pytest.raises(SealError, match="wrong_key"):
        open_direct(flipped(seal_direct(b"something kept", KEY), place, bit), KEY)


@settings(max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_under_the_seal_is_no_publishers_word(place: float, bit: int) -> None:
    signed = signed_by(PORTAL, PORTAL_HEADER)
    assert refusal(sealed_as(flipped(signed, place, bit))) in ("bad_signature", "unknown_publisher")


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_content_of_a_seal_has_a_code(content: bytes) -> None:
    assert refusal(sealed_as(content)) in ("bad_signature", "unknown_publisher")


@given(
    st.text(max_size=80)
    | st.lists(st.binary(max_size=30), min_size=5, max_size=5).map(lambda p: ".".join(map(part, p)))
)
def test_any_text_has_a_code(text: str) -> None:
    assert refusal(text) == "sealed_to_another_key"


def test_a_seal_opens_with_its_own_key_alone() -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "r1"})
    assert refusal(seal(submission(), PORTAL, stranger)) == "sealed_to_another_key"
    assert refusal(seal(submission(), PORTAL, RECEIVING), KeySet([NEXT_RECEIVING])) == "sealed_to_another_key"
    other_kid = ECKey.import_key(RECEIVING.as_dict(private=True) | {"kid": "r2"})
    assert refusal(seal(submission(), PORTAL, other_kid)) == "sealed_to_another_key"


def test_only_a_publisher_that_is_known_by_that_key_is_heard() -> None:
    assert refusal(seal(submission(), OKPKey.generate_key("Ed25519", {"kid": "x"}), RECEIVING)) == "unknown_publisher"
    assert refusal(seal(submission(), OKPKey.generate_key("Ed25519", {"kid": "portal"}), RECEIVING)) == "bad_signature"
    assert refusal(seal(submission(), ECKey.generate_key("P-256", {"kid": "console"}), RECEIVING)) == "bad_signature"


def signed_by(key: Key | None, header: dict[str, Any], body: bytes = b'{"a": 1}', secret: bytes | None = None) -> str:
    """A token under any header: signed by a key for what it can, by HMAC over a secret, or not at all."""
    said = f"{part(header)}.{part(body)}"
    if secret is not None:
        return f"{said}.{part(hmac.digest(secret, said.encode(), 'sha256'))}"
    if key is None:
        return f"{said}."
    assert isinstance(key, OKPKey)
    return f"{said}.{part(key.private_key.sign(said.encode()))}"  # type: ignore[union-attr]


def public_forms(key: Key) -> list[bytes]:
    return [json.dumps(key.as_dict(private=False)).encode(), key.as_pem(private=False), key.as_der(private=False)]


def test_the_hand_made_token_would_pass_if_it_were_honest() -> None:
    assert open_sealed(sealed_as(signed_by(PORTAL, PORTAL_HEADER)), RECEIVING_KEYS, find_key).payload == {"a": 1}


@pytest.mark.parametrize("kid", list(PUBLISHERS))
@pytest.mark.parametrize("alg", ["none", "None", "HS256", "HS512", "RS256", "ES256K", "ES384", "", None, ["EdDSA"]])
def test_no_other_algorithm_counts_as_a_signature(alg: Any, kid: str) -> None:
    header = {"alg": alg, "kid": kid}
    assert refusal(sealed_as(signed_by(None, header))) == "bad_signature"
    assert refusal(sealed_as(signed_by(PORTAL, header))) == "bad_signature"
    for secret in (b"", *public_forms(PUBLISHERS[kid][1])):
        assert refusal(sealed_as(signed_by(None, header, secret=secret))) == "bad_signature"


@pytest.mark.parametrize(("alg", "kid"), [("ES256", "portal"), ("EdDSA", "console"), ("Ed25519", "console")])
def test_a_key_signs_only_by_its_own_algorithm(alg: str, kid: str) -> None:
    assert refusal(sealed_as(signed_by(PORTAL, {"alg": alg, "kid": kid}))) == "bad_signature"


@pytest.mark.parametrize("kid", [None, 5, ["portal"], {"portal": 1}, ""])
def test_a_signature_names_its_key(kid: Any) -> None:
    assert refusal(sealed_as(signed_by(PORTAL, {"alg": "EdDSA", "kid": kid}))) in ("unknown_publisher", "bad_signature")


@pytest.mark.parametrize("extra", [{"crit": 7}, {"crit": ["exp"]}, {"jwk": PORTAL.as_dict(private=False)}, {"b64": 0}])
def test_a_header_that_asks_for_more_verifies_nothing_else(extra: dict[str, Any]) -> None:
    stranger = OKPKey.generate_key("Ed25519")
    assert refusal(sealed_as(signed_by(stranger, PORTAL_HEADER | extra))) == "bad_signature"


def test_a_signature_may_bear_the_newer_name_of_its_algorithm() -> None:
    token = signed_by(PORTAL, {"alg": "Ed25519", "kid": "portal"})
    assert open_sealed(sealed_as(token), RECEIVING_KEYS, find_key).kid == "portal"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ({"alg": "dir", "kid": "r1"}, OctKey.generate_key(256)),
        ({"alg": "ECDH-ES"}, RECEIVING),
        ({"alg": "ECDH-ES+A128KW", "enc": "A128GCM"}, RECEIVING),
        ({"enc": "A128CBC-HS256"}, RECEIVING),
        ({"zip": "DEF"}, RECEIVING),
    ],
)
def test_a_seal_of_another_make_is_not_opened(header: dict[str, Any], key: Key | OctKey) -> None:
    assert refusal(sealed_as(signed_by(PORTAL, PORTAL_HEADER), header, key)) == "sealed_to_another_key"


@pytest.mark.parametrize(
    "changed",
    [
        {"enc": {}}, {"enc": ["A256GCM"]}, {"alg": None}, {"kid": None}, {"kid": ["r1"]}, {"crit": 7}, {"zip": {}},
        {"apu": 5},
        {"epk": "x"}, {"epk": {}}, {"epk": {"kty": 7}}, {"epk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}},
    ],
)  # fmt: skip
def test_a_hostile_header_has_a_code(changed: dict[str, Any]) -> None:
    first, *rest = seal(submission(), PORTAL, RECEIVING).split(".")
    token = ".".join([part(json.loads(unpart(first)) | changed), *rest])
    assert refusal(token) == "sealed_to_another_key"


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[" * 50_000, b"\x00"])
def test_a_signed_payload_that_is_no_json_is_undecodable(body: bytes) -> None:
    assert refusal(sealed_as(signed_by(PORTAL, PORTAL_HEADER, body))) == "undecodable"


@given(st.binary(max_size=300))
def test_what_rests_is_opened_by_its_key_alone(data: bytes) -> None:
    assert open_direct(seal_direct(data, KEY), KEY) == data
    with pytest.raises(SealError, match="wrong_key"):
        open_direct(seal_direct(data, KEY), OTHER)


def test_what_rests_may_be_large() -> None:
    assert open_direct(seal_direct(b"x" * 3_000_000, KEY), KEY) == b"x" * 3_000_000


def test_a_derived_key_is_another_for_each_purpose() -> None:
    assert len({derive(KEY, "report"), derive(KEY, "identifier"), derive(OTHER, "report"), KEY.raw_value}) == 4


def report(**overrides: object) -> TaskReported:
    facts: dict[str, object] = {
        "task_id": UUID(int=1), "request_id": REQUEST, "round": 1, "attempt": 1, "store": "app", "action": "erase",
        "result": "done",
    }  # fmt: skip
    return TaskReported.model_validate(facts | overrides)


DAY = "2026-11-01"
OTHERWISE: dict[str, object] = {
    "schema_version": None, "mac": None,
    "task_id": UUID(int=2), "request_id": UUID(int=3), "round": 2, "attempt": 2, "store": "crm", "action": "discover",
    "result": Result.TRANSIENT, "code": "timeout", "retry_after_s": 1.5, "asked_with": ("email",),
    "found": {"customers": 1}, "erased": {"customers": 1}, "anonymised": {"customers": 1},
    "retained": (Retained(category="billing", count=1, basis="law", until=DAY),),
    "locked": (Locked(category="billing", count=1, until=None),), "learnt": {"email": {"trusted": 1}},
    "conflicts": (Conflict.model_validate({"code": "not_one_person", "kind": "email", "category": "c", "count": 2}),),
    "level": Level.EFFECTIVE, "bound_on": datetime(2026, 11, 1, tzinfo=UTC),
    "members": (Member(name="a.json", category="customers", size=1, sha256="00"),),
}  # fmt: skip


@pytest.mark.parametrize("field", list(TaskReported.model_fields))
def test_a_mac_changes_with_each_field_but_itself(field: str) -> None:
    if field == "mac":
        assert report_mac(report(mac="x"), KEY) == report_mac(report(), KEY)
    elif field == "schema_version":
        body = report().model_dump(mode="json") | {"mac": report_mac(report(), KEY)}
        assert is_genuine(body, KEY)
        assert not is_genuine(body | {"schema_version": 2}, KEY)
    else:
        assert report_mac(report(**{field: OTHERWISE[field]}), KEY) != report_mac(report(), KEY)


@given(
    retry_after_s=st.floats(0, 1e20), found=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2**70)),
    bound_on=st.datetimes(timezones=st.timezones(), min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001
    basis=st.text(st.characters(exclude_categories=["Cs"])),
)  # fmt: skip
def test_a_mac_survives_the_bus(retry_after_s: float, found: dict[str, int], bound_on: datetime, basis: str) -> None:
    kept = [{"category": "billing", "count": 1, "basis": basis, "until": DAY}]
    said = report(retry_after_s=retry_after_s, found=found, bound_on=bound_on, retained=kept)
    wire = said.model_copy(update={"mac": report_mac(said, KEY)}).model_dump_json()
    assert is_genuine(json.loads(wire), KEY)
    assert not is_genuine(json.loads(wire), OTHER)


def test_a_report_of_a_newer_letheia_is_covered_whole_and_read() -> None:
    newer = report().model_dump(mode="json") | {
        "heat": 1,
        "retained": [],
        "learnt": {"email": {"trusted": 1, "age": 2}},
    }
    said = hmac.new(derive(KEY, "report"), canonical_without_mac(newer), "sha256").hexdigest()
    assert is_genuine(newer | {"mac": said}, KEY)
    assert not is_genuine(newer | {"mac": said, "heat": 2}, KEY)
    assert TaskReported.read(newer).learnt["email"].trusted == 1


def canonical_without_mac(body: dict[str, Any]) -> bytes:
    """As a publisher of another language would write it: sorted names, no spaces, UTF-8."""
    kept = {name: value for name, value in body.items() if name != "mac"}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("mac", [None, 5, "", "é", "\ud800", ["x"], "0" * 64])
def test_anything_else_is_no_mac(mac: Any) -> None:
    assert not is_genuine(report().model_dump(mode="json") | {"mac": mac}, KEY)
