"""The sample says truly whose data is whose, or no check built on it means anything."""

import io
import json
import wave
from collections import Counter
from dataclasses import asdict
from datetime import date
from typing import Any, TypeVar

import phonenumbers
import pytest

from deploy.sample.check import Snapshot, compare
from deploy.sample.model import TABLES, Applicant, Call, Contact, Device, Holdings, Invoice, Kind, OwnCall, Trait
from deploy.sample.people import CAST, PEOPLE, SEEDS, generate

SAMPLE = generate(2 * len(CAST), seed=1)
SUBJECT = SAMPLE.people[0]
TODAY = date(2026, 11, 1)
RowType = TypeVar("RowType")


def rows_of(held: Holdings, type_: type[RowType]) -> list[RowType]:
    return [row for row in held.rows if isinstance(row, type_)]


def text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def stored(held: Holdings) -> dict[str, str]:
    """Holdings as `snapshot` would read them."""
    records = {f"app/{TABLES[type(row)]}/{row.id}": text(asdict(row)) for row in held.rows}
    records |= {f"analytics/event/{event.id}": text(asdict(event)) for event in held.events}
    for thing in held.objects:
        records |= {f"recordings/{thing.key}@{n}": text(len(body)) for n, body in enumerate(thing.versions)}
    for contact in held.crm:
        ident = contact.properties["email"]
        linked = {"calls": {"results": [{"id": f"{ident}-call"}]}, "notes": {"results": [{"id": f"{ident}-note"}]}}
        records[f"crm/contacts/{ident}"] = text({"properties": contact.properties, "associations": linked})
        records |= {f"crm/{kind}/{linked[kind]['results'][0]['id']}": "logged" for kind in linked}
    return records


BEFORE = Snapshot(stored(SAMPLE.holdings), ())


def after_erasure() -> dict[str, str]:
    """What the stores hold when the subject's erasure was done right."""
    records = {place: content for place, content in BEFORE.records.items() if place not in stored(SUBJECT.held)}
    kept = max(rows_of(SUBJECT.held, Invoice), key=lambda invoice: invoice.issued_on)
    return records | {f"app/invoice/{kept.id}": text(asdict(kept) | {"contact_name": None})}


def findings(records: dict[str, str], statements: tuple[str, ...] = ()) -> list[str]:
    return compare(BEFORE, Snapshot(records, statements), [SUBJECT], TODAY)


def test_the_same_seed_makes_the_same_people() -> None:
    assert generate(len(CAST), seed=7) == generate(len(CAST), seed=7)
    assert generate(3, seed=7).people == generate(20, seed=7).people[:3]


def test_no_identifier_of_a_person_lies_in_anybody_elses_data() -> None:
    people = [*SAMPLE.people, *generate(len(CAST), seed=2).people]
    data = {person.email: repr((person.held, person.processed)) for person in people}
    for person in people:
        for identifier in person.identifiers(None):
            assert {email for email in data if identifier in data[email]} <= {person.email}


def test_two_seeds_share_no_place_in_a_store() -> None:
    places = Counter(place for seed in range(20) for place in stored(generate(len(CAST), seed).holdings))
    assert set(places.values()) == {1}


def test_phones_are_valid_and_no_two_numbers_of_people_collide() -> None:
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(person.phone)) for person in SAMPLE.people)
    phones = Counter(person.phone for seed in (0, 1, SEEDS - 1) for person in generate(2 * len(CAST), seed).people)
    assert set(phones.values()) == {1, 2}
    assert sum(phones.values()) - len(phones) == 6  # one switchboard a cast


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (PEOPLE + 1, 0), (1, -1), (1, SEEDS)])
def test_more_than_the_numbering_can_keep_apart_is_refused(count: int, seed: int) -> None:
    with pytest.raises(ValueError, match="at most"):
        generate(count, seed)


def test_one_cast_shows_every_kind_and_every_trait() -> None:
    people = generate(len(CAST), seed=3).people
    assert {person.kind for person in people} == set(Kind)
    assert frozenset[Trait]().union(*(person.traits for person in people)) == set(Trait)


def test_children_hang_from_the_contact_and_recordings_from_calls() -> None:
    for person in SAMPLE.people:
        contacts = {contact.id for contact in rows_of(person.held, Contact)}
        children = [row for row in person.held.rows if isinstance(row, Device | OwnCall | Invoice)]
        assert {row.contact_id for row in children} <= contacts
        calls = {call.id for call in rows_of(person.held, OwnCall)}
        calls |= {row.interview_call_id for row in rows_of(person.held, Applicant) if row.interview_call_id}
        names = ("audio.wav", "transcript.json", "waveform.json")
        assert {o.key for o in person.held.objects} == {f"own/calls/{call}/{name}" for call in calls for name in names}
        devices = {row.device_id for row in rows_of(person.held, Device)}
        assert {event.device_id for event in person.held.events} == devices - person.shares


def test_a_second_email_stands_only_in_the_crm_and_on_the_application_it_leads_to() -> None:
    for person in SAMPLE.having(Trait.SECOND_EMAIL):
        (second,) = person.other_emails
        assert [contact.properties["hs_additional_emails"] for contact in person.held.crm] == [second]
        assert [row for row in person.held.rows if second in repr(row)] == [
            row for row in rows_of(person.held, Applicant) if row.email == second and row.interview_call_id
        ]


def test_partners_share_a_number_or_a_device_and_nothing_else() -> None:
    one, other = SAMPLE.having(Trait.SWITCHBOARD)[:2]
    assert one.phone == other.phone
    assert one.shares == other.shares == {one.phone}
    one, other = SAMPLE.having(Trait.FAMILY_TABLET)[:2]
    assert one.phone != other.phone
    (tablet,) = one.shares & other.shares
    assert tablet in {event.device_id for event in SAMPLE.shared.events}
    assert not one.unattended


def test_a_caller_of_both_tenants_has_calls_and_objects_with_each() -> None:
    for person in SAMPLE.having(Trait.BOTH_TENANTS):
        for tenant, held in person.processed.items():
            calls = rows_of(held, Call)
            assert {(call.customer_id, call.caller_e164) for call in calls} == {(tenant, person.phone)}
            assert [call.caller_email for call in calls] == [person.email, None]
            assert all(o.key.startswith(f"{tenant}/calls/") for o in held.objects)
        assert set(person.processed) == {"42", "43"}


def test_every_audio_is_a_wav_of_its_own() -> None:
    audio = [body for o in SAMPLE.holdings.objects if o.key.endswith(".wav") for body in o.versions]
    for body in audio:
        with wave.open(io.BytesIO(body)) as reader:
            assert reader.getnframes() / reader.getframerate() == 0.1
    assert len(set(audio)) == len(audio)


def test_the_check_finds_nothing_after_a_right_erasure() -> None:
    assert findings(after_erasure()) == []


@pytest.mark.parametrize("store", ["app/own_call", "app/applicant", "recordings/own", "crm/notes", "analytics/event"])
def test_the_check_finds_what_is_left(store: str) -> None:
    left = next(place for place in stored(SUBJECT.held) if place.startswith(store))
    assert findings(after_erasure() | {left: BEFORE.records[left]}) == [f"{left} is still there"]


def test_the_check_finds_an_invoice_that_keeps_the_name_or_outlives_its_term() -> None:
    expired, kept = sorted(rows_of(SUBJECT.held, Invoice), key=lambda invoice: invoice.issued_on)
    places = [f"app/invoice/{invoice.id}" for invoice in (kept, expired)]
    as_before = after_erasure() | {place: BEFORE.records[place] for place in places}
    assert set(findings(as_before)) == {f"{places[0]} is not as it must be retained", f"{places[1]} is still there"}
    without = {place: content for place, content in after_erasure().items() if place != places[0]}
    assert findings(without) == [f"{places[0]} has vanished"]


def test_the_check_finds_harm_to_bystanders_and_to_what_is_processed_for_customers() -> None:
    bystander = next(iter(stored(SAMPLE.people[1].held)))
    processed = next(iter(stored(SUBJECT.processed["42"])))
    records = after_erasure() | {bystander: "altered", "app/archive/1": "copy"}
    del records[processed]
    assert findings(records) == sorted(
        [f"{bystander} is not as it was", f"{processed} has vanished", "app/archive/1 has appeared"]
    )


def test_the_check_finds_an_identifier_in_the_text_of_a_mutation() -> None:
    device = rows_of(SUBJECT.held, Device)[0].device_id
    statement = f"DELETE WHERE device_id = '{device}'"
    assert findings(after_erasure(), (statement,)) == ["analytics: the text of a mutation holds an identifier"]


def test_an_erasure_for_one_customer_spares_ourselves_and_the_other_customer() -> None:
    gone = stored(SUBJECT.processed["42"])
    after = Snapshot({place: content for place, content in BEFORE.records.items() if place not in gone}, ())
    assert compare(BEFORE, after, [SUBJECT], TODAY, tenant="42") == []
    assert len(compare(BEFORE, after, [SUBJECT], TODAY, tenant="43")) == 2 * len(gone)
