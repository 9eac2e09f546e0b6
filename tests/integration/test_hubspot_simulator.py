"""The vendor's own client judges the simulator, over HTTP and against the real process."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hubspot import HubSpot
from hubspot.crm.associations import BatchInputPublicObjectId, PublicObjectId
from hubspot.crm.associations.v4 import (
    BatchInputPublicFetchAssociationsBatchRequest,
    PublicFetchAssociationsBatchRequest,
)
from hubspot.crm.contacts import (
    ApiException,
    BatchInputSimplePublicObjectBatchInput,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchReadInputSimplePublicObjectId,
    PublicGdprDeleteInput,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectBatchInput,
    SimplePublicObjectBatchInputForCreate,
    SimplePublicObjectId,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.contacts.exceptions import NotFoundException, UnauthorizedException
from urllib3.util.retry import Retry

from tests.support.hubspot import TOKEN, Simulator, running

UNLIMITED = 1_000_000
BOUND_S, LAG_S = 1.0, 0.3


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    state = tmp_path_factory.mktemp("hubspot") / "state.sqlite"
    limits = {"requests_per_ten_seconds": UNLIMITED, "searches_per_second": UNLIMITED}
    with running(state, bound_s=BOUND_S, index_lag_s=LAG_S, **limits) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def hubspot(simulator: Simulator) -> Any:
    return client_of(simulator)


def client_of(simulator: Simulator, token: str = TOKEN, retry: Retry | None = None) -> Any:
    """The vendor's client, sent to the simulator and patient only where a test asks for it."""
    return HubSpot(access_token=token, host=simulator.url, retry=retry or Retry(0))


def address() -> str:
    return f"{uuid4().hex}@example.org"


def contact(hubspot: Any, **properties: str) -> Any:
    return hubspot.crm.contacts.basic_api.create(
        SimplePublicObjectInputForCreate(properties={"email": address(), **properties}, associations=[])
    )


def logged(hubspot: Any, kind: str, *contacts: str) -> str:
    """A call or note tied to contacts."""
    number, text = {"calls": (194, "hs_call_body"), "notes": (202, "hs_note_body")}[kind]
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": number}]
    associations = [{"to": {"id": id_}, "types": types} for id_ in contacts]
    properties = {"hs_timestamp": "2026-05-01T10:00:00Z", text: "asked for a quote"}
    created = getattr(hubspot.crm.objects, kind).basic_api.create(
        {"properties": properties, "associations": associations}
    )
    return str(created.id)


def search(hubspot: Any, property_: str, operator: str, kind: str = "contacts", **how: Any) -> list[str]:
    filter_ = {"propertyName": property_, "operator": operator, **how}
    body = PublicObjectSearchRequest(filter_groups=[{"filters": [filter_]}], limit=100, after="0", properties=["email"])
    return [result.id for result in hubspot.crm.contacts.search_api.do_search(body).results]


def read(hubspot: Any, *ids: str, by: str | None = None) -> Any:
    body = BatchReadInputSimplePublicObjectId(
        inputs=[SimplePublicObjectId(id=id_) for id_ in ids],
        id_property=by,
        properties=["email", "phone"],
        properties_with_history=[],
    )
    return hubspot.crm.contacts.batch_api.read(body)


def calls_of(hubspot: Any, *contacts: str) -> Any:
    inputs = [PublicFetchAssociationsBatchRequest(id=id_) for id_ in contacts]
    return hubspot.crm.associations.v4.batch_api.get_page(
        "contacts", "calls", BatchInputPublicFetchAssociationsBatchRequest(inputs=inputs)
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not come true within a minute"
        time.sleep(0.05)


def gone(hubspot: Any, id_: str) -> bool:
    try:
        hubspot.crm.contacts.basic_api.get_by_id(id_)
    except NotFoundException:
        return True
    return False


def refused(call: Callable[[], Any]) -> Any:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def test_creates_reads_and_changes_a_contact(hubspot: Any) -> None:
    email = address()
    created = contact(hubspot, email=email.upper(), firstname="Ada")

    hubspot.crm.contacts.basic_api.update(created.id, SimplePublicObjectInput(properties={"firstname": ""}))
    found = hubspot.crm.contacts.basic_api.get_by_id(email, id_property="email", properties=["firstname", "company"])

    assert found.id == created.id
    assert found.properties["firstname"] is None
    assert found.properties["company"] is None
    assert found.archived is False
    assert found.created_at <= found.updated_at
    assert created.properties["email"] == email


def test_refuses_a_second_contact_with_an_address(hubspot: Any) -> None:
    first, second = address(), address()
    existing = contact(hubspot, email=first, hs_additional_emails=second)

    for email in (first, second):
        error = refused(partial(contact, hubspot, email=email))
        assert (error.status, error.reason) == (409, "Conflict")
        assert f"Existing ID: {existing.id}" in error.body
        assert '"category":"CONFLICT"' in error.body


def test_refuses_what_it_does_not_know(hubspot: Any) -> None:
    for properties in ({"fristname": "Ada"}, {"email": "nobody"}, {"hs_merged_object_ids": "1"}):
        error = refused(partial(contact, hubspot, **properties))
        assert error.status == 400
        assert '"category":"VALIDATION_ERROR"' in error.body


def test_refuses_a_wrong_token_in_the_vendors_words(simulator: Simulator) -> None:
    with pytest.raises(UnauthorizedException) as caught:
        client_of(simulator, "wrong").crm.contacts.basic_api.get_page()
    assert '"category":"INVALID_AUTHENTICATION"' in caught.value.body
    assert "correlationId" in caught.value.body


def test_finds_by_search_once_the_index_has_caught_up(hubspot: Any) -> None:
    email = address()
    created = contact(hubspot, email=email, phone="+33 1 23 45 67 89")
    assert search(hubspot, "email", "EQ", value=email) == []

    until(lambda: search(hubspot, "email", "EQ", value=email.upper()) == [created.id])

    assert search(hubspot, "email", "IN", values=[email, address()]) == [created.id]
    assert created.id in search(hubspot, "hs_searchable_calculated_phone_number", "EQ", value="123456789")
    assert created.id in search(hubspot, "phone", "HAS_PROPERTY")
    assert search(hubspot, "phone", "IN", values=["+33123456789"]) == []


def test_finds_an_additional_address_only_where_it_stands(hubspot: Any) -> None:
    first, second, third = address(), address(), address()
    created = contact(hubspot, email=first, hs_additional_emails=f"{second};{third}")

    until(lambda: search(hubspot, "hs_additional_emails", "CONTAINS_TOKEN", value=third) == [created.id])

    assert search(hubspot, "email", "EQ", value=second) == []
    results = read(hubspot, second, first, by="email")
    assert [result.id for result in results.results] == [created.id]


def test_finds_too_much_by_a_token(hubspot: Any) -> None:
    name = uuid4().hex
    other = contact(hubspot, hs_additional_emails=f"jo.{name}@example.org")

    until(lambda: search(hubspot, "hs_additional_emails", "CONTAINS_TOKEN", value=f"{name}@example.org") == [other.id])


def test_reads_a_batch_and_names_what_is_missing(hubspot: Any) -> None:
    ids = [contact(hubspot).id for _ in range(2)]
    assert {result.id for result in read(hubspot, *ids).results} == set(ids)

    partly = read(hubspot, *ids, "1")

    assert partly.num_errors == 1
    assert partly.errors[0].category == "OBJECT_NOT_FOUND"
    assert partly.errors[0].context == {"ids": ["1"]}
    assert {result.id for result in partly.results} == set(ids)


def test_creates_and_changes_a_hundred_at_once(hubspot: Any) -> None:
    api = hubspot.crm.contacts.batch_api
    inputs = [SimplePublicObjectBatchInputForCreate(properties={"email": address()}) for _ in range(100)]
    created = api.create(BatchInputSimplePublicObjectBatchInputForCreate(inputs=inputs)).results

    changes = [SimplePublicObjectBatchInput(id=one.id, properties={"city": "Lyon"}) for one in created]
    changed = api.update(BatchInputSimplePublicObjectBatchInput(inputs=changes)).results

    assert {one.properties["city"] for one in changed} == {"Lyon"}
    inputs.append(inputs[0])
    error = refused(lambda: api.create(BatchInputSimplePublicObjectBatchInputForCreate(inputs=inputs)))
    assert error.status == 400


def test_ties_calls_and_notes_to_contacts(hubspot: Any) -> None:
    one, other, alone = (contact(hubspot).id for _ in range(3))
    call, note = logged(hubspot, "calls", one, other), logged(hubspot, "notes", one)

    ties = calls_of(hubspot, one, alone)

    assert [(result._from.id, [to.to_object_id for to in result.to]) for result in ties.results] == [(one, [call])]
    assert ties.errors[0].sub_category == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert ties.errors[0].context["fromObjectId"] == [alone]
    v3 = hubspot.crm.associations.batch_api.read(
        "calls", "contacts", BatchInputPublicObjectId(inputs=[PublicObjectId(id=call)])
    )
    assert {(to.id, to.type) for to in v3.results[0].to} == {(one, "call_to_contact"), (other, "call_to_contact")}
    whole = hubspot.crm.contacts.basic_api.get_by_id(one, associations=["calls", "notes"])
    assert [tie.id for tie in whole.associations["notes"].results] == [note]


def test_pages_through_many_ties(hubspot: Any) -> None:
    owner = contact(hubspot).id
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}]
    one = {
        "properties": {"hs_timestamp": "2026-05-01T10:00:00Z"},
        "associations": [{"to": {"id": owner}, "types": types}],
    }
    for _ in range(6):
        hubspot.crm.objects.calls.batch_api.create({"inputs": [one] * 100})

    first = calls_of(hubspot, owner).results[0]
    rest = hubspot.crm.associations.v4.batch_api.get_page(
        "contacts", "calls", {"inputs": [{"id": owner, "after": first.paging.next.after}]}
    ).results[0]

    assert len({to.to_object_id for to in first.to + rest.to}) == 600
    assert rest.paging is None


def test_answers_with_the_merged_contact_under_the_old_ids(hubspot: Any) -> None:
    primary, other = contact(hubspot, city="Lyon"), contact(hubspot, city="Nice")
    call = logged(hubspot, "calls", other.id)

    merged = hubspot.crm.contacts.basic_api.merge(
        PublicMergeInput(primary_object_id=primary.id, object_id_to_merge=other.id)
    )

    assert merged.id not in (primary.id, other.id)
    for old in (primary.id, other.id):
        names = ["city", "email", "hs_additional_emails", "hs_merged_object_ids"]
        found = hubspot.crm.contacts.basic_api.get_by_id(old, properties=names)
        assert found.id == merged.id
        assert found.properties["city"] == "Lyon"
        assert found.properties["hs_additional_emails"] == other.properties["email"]
        assert found.properties["hs_merged_object_ids"].split(";") == [primary.id, other.id]
    assert [result.id for result in read(hubspot, primary.id, other.id).results] == [merged.id]
    assert calls_of(hubspot, other.id).results[0].to[0].to_object_id == call


def test_a_plain_deletion_can_still_be_read(hubspot: Any) -> None:
    created = contact(hubspot, firstname="Ada")

    hubspot.crm.contacts.basic_api.archive(created.id)
    hubspot.crm.contacts.basic_api.archive(created.id)

    assert gone(hubspot, created.id)
    in_the_bin = hubspot.crm.contacts.basic_api.get_by_id(created.id, archived=True, properties=["firstname"])
    assert in_the_bin.properties["firstname"] == "Ada"
    assert in_the_bin.archived_at


def test_a_gdpr_deletion_takes_its_time_and_leaves_the_calls_behind(hubspot: Any) -> None:
    email = address()
    created = contact(hubspot, email=email)
    call = logged(hubspot, "calls", created.id)

    hubspot.crm.contacts.basic_api.purge(PublicGdprDeleteInput(object_id=created.id))

    assert not gone(hubspot, created.id)
    until(lambda: gone(hubspot, created.id))
    with pytest.raises(NotFoundException):
        hubspot.crm.contacts.basic_api.get_by_id(created.id, archived=True)
    left = hubspot.crm.objects.calls.basic_api.get_by_id(call, properties=["hs_call_body"], associations=["contacts"])
    assert left.properties["hs_call_body"] == "asked for a quote"
    assert left.associations is None
    assert call in {
        one.id for one in hubspot.crm.objects.calls.basic_api.get_page(limit=100, after=str(int(call) - 1)).results
    }
    assert contact(hubspot, email=email).id != created.id, "by API an erased contact comes back"


def test_a_gdpr_deletion_by_an_unknown_address_blocklists_it(simulator: Simulator, hubspot: Any) -> None:
    api, before = hubspot.crm.contacts.basic_api, blocked(simulator)

    api.purge(PublicGdprDeleteInput(id_property="email", object_id=address()))

    assert blocked(simulator) == before + 1
    with pytest.raises(NotFoundException):
        api.purge(PublicGdprDeleteInput(object_id="1"))
    assert blocked(simulator) == before + 1


def blocked(simulator: Simulator) -> int:
    with sqlite3.connect(simulator.state) as db:
        (count,) = db.execute("select count(*) from blocklist where reason = 'miss'").fetchone()
    db.close()
    return int(count)


def test_names_its_properties(hubspot: Any) -> None:
    definitions = hubspot.crm.properties.core_api.get_all("contacts").results
    by_name = {definition.name: definition for definition in definitions}
    assert by_name["hs_merged_object_ids"].modification_metadata.read_only_value
    assert not by_name["email"].modification_metadata.read_only_value


def test_limits_are_kept_and_waiting_helps(tmp_path: Path) -> None:
    with running(tmp_path / "state", requests_per_ten_seconds=3, searches_per_second=2) as simulator:
        hasty, patient = (
            client_of(simulator),
            client_of(
                simulator,
                retry=Retry(20, backoff_factor=1, backoff_max=1, status_forcelist=[429], allowed_methods=None),
            ),
        )
        for _ in range(2):
            search(hasty, "email", "HAS_PROPERTY")
        error = refused(lambda: search(hasty, "email", "HAS_PROPERTY"))
        assert (error.status, '"policyName":"SECONDLY"' in error.body) == (429, True)
        assert not [name for name in error.headers if "ratelimit" in name.lower()]
        assert search(patient, "email", "HAS_PROPERTY") == []

        for _ in range(3):
            hasty.crm.contacts.basic_api.get_page()
        error = refused(hasty.crm.contacts.basic_api.get_page)
        assert '"policyName":"TEN_SECONDLY_ROLLING"' in error.body
        assert error.headers["X-HubSpot-RateLimit-Max"] == "3"
        assert error.headers["X-HubSpot-RateLimit-Remaining"] == "0"
        assert patient.crm.contacts.basic_api.get_page().results == []


def test_outlives_a_kill(tmp_path: Path) -> None:
    with running(tmp_path / "state") as simulator:
        hubspot = client_of(simulator)
        one, other = contact(hubspot), contact(hubspot)
        call = logged(hubspot, "calls", other.id)
        merged = hubspot.crm.contacts.basic_api.merge(
            PublicMergeInput(primary_object_id=one.id, object_id_to_merge=other.id)
        )
        erased = contact(hubspot)
        hubspot.crm.contacts.basic_api.purge(PublicGdprDeleteInput(object_id=erased.id))
        simulator.kill()
    with running(tmp_path / "state") as simulator:
        hubspot = client_of(simulator)
        assert hubspot.crm.contacts.basic_api.get_by_id(one.id).id == merged.id
        assert calls_of(hubspot, merged.id).results[0].to[0].to_object_id == call
        until(lambda: gone(hubspot, erased.id))
        assert int(contact(hubspot).id) > int(erased.id)
