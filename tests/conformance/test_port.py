"""The guarantees of `services/connectors/port.py`, one test each. No test knows which store it speaks to."""

import traceback
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from contracts.reports import Level
from services.connectors.port import (
    Erasure,
    Export,
    Findings,
    Identifier,
    LeaseLost,
    Revoked,
    Standing,
    Subject,
    Terminal,
    Transient,
)
from tests.conformance.harness import ROW_LIMIT, SCOPES, Harness, Prepared
from tests.support.port import MemoryBundle, Permits

Discovered = Findings | Transient | Terminal | Revoked
Erased = Erasure | Transient | Terminal | Revoked


async def discover(harness: Harness, *subjects: Subject) -> Sequence[Discovered]:
    return await harness.connector.discover(subjects, Permits.of(subjects))


async def findings(harness: Harness, subject: Subject) -> Findings:
    (found,) = await discover(harness, subject)
    assert isinstance(found, Findings), found
    return found


async def erase(harness: Harness, *subjects: Subject) -> Sequence[Erased]:
    return await harness.connector.erase(subjects, Permits.of(subjects))


async def erasure(harness: Harness, subject: Subject) -> Erasure:
    (done,) = await erase(harness, subject)
    assert isinstance(done, Erasure), done
    return done


async def all_known(harness: Harness, subject: Subject) -> Subject:
    """The subject with what discovery revealed, as the vault would hand it to the next task."""
    revealed = (await findings(harness, subject)).revealed
    return replace(subject, identifiers=revealed | subject.identifiers)


def tally(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for category, count in counts:
        total[category] += count
    return dict(total)


def standing(subject: Subject, standing: Standing) -> Subject:
    return replace(subject, identifiers=frozenset(replace(i, standing=standing) for i in subject.identifiers))


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def names_nobody(text: str, people: Iterable[Prepared]) -> bool:
    known = {i.value for person in people for i in person.subject.identifiers | person.reveals}
    return not [value for value in known if value in text]


async def test_answers_each_subject_in_order(harness: Harness) -> None:
    people = [await harness.person(harness.scopes[0], records=count) for count in (2, 5, 3)]
    people = [people[1], people[0], people[2]]

    answers = await discover(harness, *(p.subject for p in people))

    assert [a.found if isinstance(a, Findings) else a for a in answers] == [p.found for p in people]
    assert names_nobody(repr(answers), people)


async def test_says_with_what_it_was_asked_and_what_it_holds(harness: Harness) -> None:
    for scope in harness.scopes:
        person = await harness.person(scope)

        found = await findings(harness, person.subject)

        assert found.asked_with
        assert found.asked_with <= {i.kind for i in person.subject.identifiers}
        assert found.found == person.found
        assert tally((r.category, r.count) for r in found.retained) == person.retained
        assert found.contested == ()


async def test_reveals_all_that_it_knows_at_once(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    first = await findings(harness, person.subject)
    assert person.reveals <= first.revealed

    again = await findings(harness, await all_known(harness, person.subject))

    assert again.revealed <= first.revealed | person.subject.identifiers
    assert (again.found, again.retained) == (first.found, first.retained)


async def test_erases_all_of_the_subject_and_nothing_of_a_bystander(harness: Harness) -> None:
    for scope in harness.scopes:
        person, bystander = await harness.person(scope), await harness.person(scope)
        before = await harness.stored(bystander)
        subject = await all_known(harness, person.subject)
        assert len(await harness.stored(person)) > sum(person.retained.values())

        done = await erasure(harness, subject)
        await harness.settle()

        assert Counter(done.erased) + Counter(done.anonymised) == Counter(person.found)
        assert not done.found
        assert (done.bound_on is not None) == (done.level is Level.ACCEPTED)
        assert len(await harness.stored(person)) == sum(person.retained.values())
        after = await findings(harness, subject)
        assert after.found == {}
        assert tally((r.category, r.count) for r in after.retained) == person.retained
        assert await harness.stored(bystander) == before


async def test_erases_again_without_harm(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    subject = await all_known(harness, person.subject)
    await erasure(harness, subject)
    await harness.settle()
    left = await harness.stored(person)

    again = await erasure(harness, subject)

    assert not again.erased
    assert not again.anonymised
    assert again.asked_with
    assert await harness.stored(person) == left


async def test_leaves_what_reveals_something_that_discovery_had_not_seen(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    new = person.reveals - person.subject.identifiers
    if not new:
        pytest.skip("this store reveals nothing, so nothing in it can be new")

    done = await erasure(harness, person.subject)

    assert new & done.revealed
    assert done.found
    assert len(await harness.stored(person)) >= sum(done.found.values())
    rest = await erasure(harness, await all_known(harness, person.subject))
    await harness.settle()
    total = Counter(done.erased) + Counter(done.anonymised) + Counter(rest.erased) + Counter(rest.anonymised)
    assert total == Counter(person.found)
    assert len(await harness.stored(person)) == sum(person.retained.values())


async def test_one_person_over_the_limit_fails_alone_and_whole(harness: Harness) -> None:
    scope = harness.scopes[0]
    large, small = await harness.person(scope, records=ROW_LIMIT + 1), await harness.person(scope)
    before = await harness.stored(large)
    everything = replace(large.subject, identifiers=large.subject.identifiers | large.reveals)
    subjects = [everything, await all_known(harness, small.subject)]

    refused, done = await erase(harness, *subjects)
    await harness.settle()

    assert isinstance(refused, Terminal)
    assert refused.code == "row_limit"
    assert await harness.stored(large) == before
    assert isinstance(done, Erasure)
    assert len(await harness.stored(small)) == sum(small.retained.values())


async def test_stays_within_the_scope_of_the_request(harness: Harness) -> None:
    for own in harness.scopes:
        person = await harness.person(own)
        before = await harness.stored(person)
        for foreign in set(SCOPES) - {own}:
            subject = replace(person.subject, scope=foreign)

            found, done = await findings(harness, subject), await erasure(harness, subject)

            assert not found.found
            assert not found.contested
            assert not found.retained
            assert not done.erased
            assert not done.anonymised
        assert await harness.stored(person) == before


@pytest.mark.parametrize("standing_", [Standing.UNVERIFIED, Standing.SET_ASIDE, None])
async def test_says_when_nothing_known_can_match(harness: Harness, standing_: Standing | None) -> None:
    person = await harness.person(harness.scopes[0])
    before = await harness.stored(person)
    if standing_ is None:
        subject = replace(person.subject, identifiers=frozenset({Identifier("hat_size", "58")}))
    else:
        subject = standing(person.subject, standing_)

    found, done = await findings(harness, subject), await erasure(harness, subject)

    assert found.asked_with == done.asked_with == frozenset()
    assert not found.found
    assert await harness.stored(person) == before


async def test_touches_nobody_whose_permit_was_withdrawn(harness: Harness) -> None:
    revoked, permitted = [await harness.person(harness.scopes[0]) for _ in range(2)]
    before = await harness.stored(revoked)
    subjects = [await all_known(harness, p.subject) for p in (revoked, permitted)]

    answers = await harness.connector.erase(subjects, Permits.of(subjects[1:]))

    assert isinstance(answers[0], Revoked)
    assert isinstance(answers[1], Erasure)
    assert await harness.stored(revoked) == before
    nobody = Permits(frozenset())
    assert [type(a) for a in await harness.connector.discover(subjects, nobody)] == [Revoked, Revoked]
    assert isinstance(await harness.connector.export(subjects[0], MemoryBundle(), nobody), Revoked)


async def test_stops_wherever_a_permit_is_withdrawn_and_goes_on_from_there(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    subject = await all_known(harness, person.subject)
    for answer_of in (
        lambda permits: harness.connector.discover([subject], permits),
        lambda permits: harness.connector.export(subject, MemoryBundle(), permits),
        lambda permits: harness.connector.erase([subject], permits),
    ):
        for calls in range(100):
            permits = Permits.of([subject], calls)
            answer = await _result(answer_of(permits))
            assert isinstance(answer, Revoked) == (permits.asked > calls), answer
            if permits.asked <= calls:
                break

    assert isinstance(answer, Erasure)
    await harness.settle()
    assert len(await harness.stored(person)) == sum(person.retained.values())


async def test_stops_at_once_when_the_lease_is_lost(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    subject = await all_known(harness, person.subject)
    before = await harness.stored(person)
    lost = Permits(frozenset({subject.request_id}), lost=True)

    for call in (
        harness.connector.discover([subject], lost),
        harness.connector.erase([subject], lost),
        harness.connector.export(subject, MemoryBundle(), lost),
    ):
        with pytest.raises(LeaseLost):
            await _result(call)
    assert await harness.stored(person) == before


async def test_never_takes_a_missing_structure_for_an_empty_one(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    before = await harness.stored(person)
    subject = await all_known(harness, person.subject)

    async with harness.broken():
        failures = [
            await _failure(harness.connector.discover([subject], Permits.of([subject]))),
            await _failure(harness.connector.erase([subject], Permits.of([subject]))),
            await _failure(harness.connector.export(subject, MemoryBundle(), Permits.of([subject]))),
        ]
        health = await harness.connector.check()

    for failure in failures:
        assert isinstance(failure, Terminal)
        assert names_nobody(text_of(failure), [person])
    assert health.problems
    assert await harness.stored(person) == before
    assert (await findings(harness, subject)).found == person.found


async def test_finds_no_fault_with_a_store_as_declared(harness: Harness) -> None:
    assert (await harness.connector.check()).problems == ()


async def test_leaves_to_a_person_what_only_a_shared_identifier_matches(harness: Harness) -> None:
    for scope in harness.scopes:
        person = await harness.ambiguous(scope)
        if person is None:
            pytest.skip("no shared kind matches in this store")
        before = await harness.stored(person)

        found, done = await findings(harness, person.subject), await erasure(harness, person.subject)

        for answer in (found, done):
            assert tally((c.category, c.count) for c in answer.contested) == person.found
            assert {c.identifier for c in answer.contested} <= person.subject.identifiers
            assert not answer.found
        assert not found.revealed - person.subject.identifiers
        assert await harness.stored(person) == before

        confirmed = await all_known(harness, standing(person.subject, Standing.CONFIRMED))
        assert (await findings(harness, confirmed)).found == person.found
        await erasure(harness, confirmed)
        await harness.settle()
        assert await harness.stored(person) == {}


async def test_exports_what_it_found_and_reads_back_the_same(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    subject = await all_known(harness, person.subject)
    before = await harness.stored(person)
    bundle = MemoryBundle()

    export = await harness.connector.export(subject, bundle, Permits.of([subject]))

    assert isinstance(export, Export)
    assert list(export.members) == bundle.members
    assert {member.category for member in export.members} == person.exported
    assert names_nobody(" ".join(bundle.contents), [person])
    assert await harness.stored(person) == before


async def test_exports_nothing_of_somebody_it_does_not_hold(harness: Harness) -> None:
    person = await harness.person(harness.scopes[0])
    subject = await all_known(harness, person.subject)
    await erasure(harness, subject)
    await harness.settle()
    stranger = replace(subject, request_id=uuid4())
    bundle = MemoryBundle()

    export = await harness.connector.export(stranger, bundle, Permits.of([stranger]))

    assert isinstance(export, Export)
    assert export.members == ()
    assert bundle.members == []


async def _result(call: Awaitable[Any]) -> Any:
    """What a call answered, for its only subject."""
    answer = await call
    return answer[0] if isinstance(answer, Sequence) else answer


async def _failure(call: Awaitable[Any]) -> object:
    """What a call raised, or answered."""
    try:
        return await _result(call)
    except (Transient, Terminal) as failure:
        return failure
