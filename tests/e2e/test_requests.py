"""Requests all the way, on real parts, checked straight in the stores."""

import io
import json
import zipfile
from uuid import UUID

import pytest

from deploy.sample.model import Kind, Trait
from tests.support.stack import Stack


async def test_an_erasure_leaves_nothing_of_the_subject_and_everything_of_everybody_else(stack: Stack) -> None:
    sample = await stack.people(13)
    subject = sample.people[0]
    before = await stack.snapshot()
    request = stack.submission({"email": subject.email})
    await stack.publish(request)
    document = await stack.closed(request.request_id)
    assert document["outcome"] == "completed_with_retention"
    assert {store["state"] for store in document["stores"]} == {"proved"}
    assert await stack.wrong(before, [subject]) == []


async def test_the_status_document_has_the_fields_that_users_rely_on(stack: Stack) -> None:
    sample = await stack.people(1)
    request = stack.submission({"email": sample.people[0].email})
    await stack.publish(request)
    await stack.closed(request.request_id)
    document = json.loads(stack.letheia("status", str(request.request_id), "--json"))
    assert {
        "request_id", "right", "phase", "outcome", "revision", "controller", "our_role", "publisher", "attention",
        "received_on", "due_on", "strict_due_on", "days_left", "extended", "informed_on", "stores", "bundle",
        "trace_id",
    } <= document.keys()  # fmt: skip
    assert {
        "store", "state", "level", "asked_with", "found", "erased", "remaining", "retained", "locked", "attempts",
        "error",
    } <= document["stores"][0].keys()  # fmt: skip
    assert (document["publisher"], document["our_role"]) == ("crm-portal", "controller")


async def test_a_portable_copy_holds_what_the_person_gave_and_no_second_voice_until_released(stack: Stack) -> None:
    sample = await stack.people(13)
    subject = sample.people[0]
    request = stack.submission({"email": subject.email}, right="portability")
    await stack.publish(request)
    document = await stack.closed(request.request_id)
    assert document["outcome"] == "completed"
    names, contents = await _bundle(stack, request.request_id)
    assert {"manifest.json", "index.html"} <= names
    assert any(subject.email.encode() in content for content in contents.values())
    assert not any(name.startswith("recordings/") and name.endswith(".wav") for name in names)
    assert not any("billing" in name for name in names), "an invoice rests on the law, not on consent or contract"
    await stack.decide(request.request_id, "release-bundle")
    while not any(name.startswith("recordings/") and name.endswith(".wav") for name in names):
        names, contents = await _bundle(stack, request.request_id)


async def test_an_erasure_with_export_first_gives_the_copy_and_then_erases(stack: Stack) -> None:
    sample = await stack.people(1)
    before = await stack.snapshot()
    request = stack.submission({"email": sample.people[0].email}, export_first=True)
    await stack.publish(request)
    document = await stack.closed(request.request_id)
    assert document["bundle"]
    _, contents = await _bundle(stack, request.request_id)
    assert any(sample.people[0].email.encode() in content for content in contents.values())
    assert await stack.wrong(before, sample.people) == []


@pytest.mark.parametrize(("decision", "outcome"), [("reject", "rejected"), ("accept", "nothing_held")])
async def test_a_switchboards_number_stops_for_a_person(stack: Stack, decision: str, outcome: str) -> None:
    sample = await stack.people(13)
    colleague = sample.having(Trait.SWITCHBOARD)[0]
    before = await stack.snapshot()
    request = stack.submission({"phone": colleague.phone})
    await stack.publish(request)
    await stack.stopped(request.request_id, "shared_identifier")
    await stack.decide(request.request_id, decision)
    if decision == "accept":  # set aside, nothing is left to search by
        await stack.until(request.request_id, lambda found: found["revision"] > 1 and found["attention"] is not None)
    else:
        assert (await stack.closed(request.request_id))["outcome"] == outcome
    assert await stack.wrong(before, []) == []


async def test_a_customers_request_reaches_that_customers_data_alone(stack: Stack) -> None:
    sample = await stack.people(13)
    caller = next(person for person in sample.having(Trait.BOTH_TENANTS) if person.kind is Kind.CALLER)
    before = await stack.snapshot()
    request = stack.submission({"email": caller.email, "phone": caller.phone}, controller="globex")
    await stack.publish(request)
    document = await stack.closed(request.request_id)
    assert document["our_role"] == "processor"
    assert {store["store"] for store in document["stores"]} == {"app", "recordings"}
    assert await stack.wrong(before, [caller], tenant="42") == []


async def test_nothing_found_is_no_success(stack: Stack) -> None:
    request = stack.submission({"email": "nobody.at.all@example.org"})
    await stack.publish(request)
    await stack.stopped(request.request_id, "nothing_found")
    await stack.decide(request.request_id, "accept")
    assert (await stack.closed(request.request_id))["outcome"] == "nothing_held"


async def test_what_the_console_asks_waits_for_an_approval(stack: Stack) -> None:
    sample = await stack.people(1)
    before = await stack.snapshot()
    body = {
        "right": "erasure", "controller": "acme", "identity": {"verified": True, "method": "letter"},
        "identifiers": [{"kind": "email", "value": sample.people[0].email}],
    }  # fmt: skip
    async with stack.api() as session, session.post("/api/v1/requests", json=body) as response:
        assert response.status == 202, await response.text()
        request_id = UUID((await response.json())["request_id"])
    document = await stack.stopped(request_id, "approval")
    assert any(store["found"] for store in document["stores"]), "the preview of what would be erased"
    await stack.decide(request_id, "approve")
    await stack.closed(request_id)
    assert await stack.wrong(before, sample.people) == []


async def _bundle(stack: Stack, request_id: UUID) -> tuple[set[str], dict[str, bytes]]:
    async with stack.api() as session, session.get(f"/api/v1/requests/{request_id}/bundle") as response:
        assert response.status == 200, await response.text()
        with zipfile.ZipFile(io.BytesIO(await response.read())) as bundle:
            return set(bundle.namelist()), {name: bundle.read(name) for name in bundle.namelist()}
