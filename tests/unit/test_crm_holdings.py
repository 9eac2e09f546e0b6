"""Whose a contact, a call or a note is."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from services.connectors.crm.client import REFUSED, Record
from services.connectors.crm.connector import Failure, apart
from services.connectors.crm.holdings import Contact, Engagement, holdings
from services.connectors.port import Checkpoint, Findings, Identifier, Scope, Standing, Subject, Terminal
from services.kit.inventory import Role
from tests.support.port import Permits

REVEALS = ("email", "crm_id", "engagement_id")


def subject(*identifiers: Identifier) -> Subject:
    return Subject(uuid4(), Scope("acme", Role.CONTROLLER), frozenset(identifiers))


def contact(id_: str, **properties: str) -> Contact:
    return Contact.of(Record(id_, properties))


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("+33123456789", True),
        ("+33 (1) 23-45-67-89", True),
        ("0033 1 23 45 67 89", True),
        ("01 23 45 67 89", True),
        ("+49 123456789", False),
        ("123456", False),
        ("ask at reception", False),
    ],
)
def test_knows_a_number_however_it_was_typed(typed: str, same: bool) -> None:
    assert contact("1", phone=typed).has_phone("+33123456789") == same


@pytest.mark.parametrize("typed", ["extension", "+"])
def test_what_is_no_number_is_like_no_other(typed: str) -> None:
    assert not contact("1", phone=typed).has_phone("unknown")


def test_goes_through_what_it_learns_only_when_told() -> None:
    ada = subject(Identifier("email", "ada@example.org"))
    chain = [
        contact("1", email="Ada@example.org", hs_additional_emails="ada@example.net"),
        contact("2", email="countess@example.org", hs_merged_object_ids="8;9", hs_additional_emails="ada@example.net"),
    ]

    assert [c.id for c in holdings(ada, chain, [], learn=True).contacts] == ["1", "2"]
    assert [c.id for c in holdings(ada, chain, [], learn=False).contacts] == ["1"]


def test_a_confirmed_number_makes_its_contacts_the_subjects() -> None:
    phone, contacts = "+33123456789", [contact("1", phone="+33123456789"), contact("2", mobilephone="0123456789")]

    given = holdings(subject(Identifier("phone", phone)), contacts, [], learn=True)
    confirmed = holdings(subject(Identifier("phone", phone, Standing.CONFIRMED)), contacts, [], learn=True)

    assert (given.count, given.strangers) == (0, {Identifier("phone", phone): 2})
    assert (confirmed.count, confirmed.strangers) == (2, {})


def test_a_stranger_is_counted_once_however_many_numbers_lead_there() -> None:
    numbers = ["+33123456789", "+33612345678"]
    both = contact("1", phone=numbers[0], mobilephone=numbers[1])

    held = holdings(subject(*(Identifier("phone", n) for n in numbers)), [both], [], learn=True)

    assert list(held.strangers.values()) == [1]


@pytest.mark.parametrize(
    ("owners", "known", "theirs", "shared"),
    [
        ({"1"}, False, 1, 0),
        ({"1", "2"}, False, 0, 1),
        ({"2"}, True, 0, 0),
        (set[str](), True, 1, 0),
        (set[str](), False, 0, 0),
    ],
)
def test_a_call_is_whose_all_its_contacts_are(owners: set[str], known: bool, theirs: int, shared: int) -> None:
    call = Engagement("calls", "7", frozenset(owners))
    given = {Identifier("email", "ada@example.org")} | ({call.identifier} if known else set())

    held = holdings(subject(*given), [contact("1", email="ada@example.org")], [call], learn=True)

    assert (len(held.engagements), len(held.shared)) == (theirs, shared)
    assert (call.identifier in held.revealed(REVEALS)) == bool(theirs or shared)


def test_what_is_new_stays_with_what_it_hangs_from() -> None:
    old, new = (Engagement("notes", id_, frozenset({"1"})) for id_ in ("7", "8"))
    seen = Identifier("email", "ada@example.org"), Identifier("crm_id", "1"), old.identifier
    held = holdings(subject(*seen), [contact("1", email="ada@example.org")], [old, new], learn=False)

    stays = held.unseen(subject(*seen), REVEALS)

    assert [c.id for c in stays.contacts] == ["1"]
    assert stays.engagements == (new,)
    assert held.without(stays).engagements == (old,)
    assert held.unseen(subject(*seen, new.identifier), REVEALS).count == 0


async def test_ones_refused_value_fails_nobody_else() -> None:
    odd, *_ = people = [subject(Identifier("email", f"{n}@example.org")) for n in range(3)]

    async def refuse_odd(subjects: Sequence[Subject], _: Checkpoint) -> list[Findings | Failure]:
        if odd in subjects:
            raise Terminal(REFUSED)
        return [Findings(frozenset({"email"})) for _ in subjects]

    answers = await apart(people, Permits.of(people), refuse_odd)

    assert [type(answer) for answer in answers] == [Terminal, Findings, Findings]
