"""`/crm/v3/objects`: contacts, calls and notes ("Contacts", "Calls", "Notes", "Search the CRM")."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from deploy.simulators.hubspot import bodies, errors
from deploy.simulators.hubspot.account import Account
from deploy.simulators.hubspot.record import Record, shape, stamp
from deploy.simulators.hubspot.schema import ASSOCIATION_TYPES, KINDS, Kind
from deploy.simulators.hubspot.search import Search

router = APIRouter()

Names = Annotated[Sequence[str], Query()]
"""Repeated or divided by commas: clients do both."""


async def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account


async def kind_of(kind: str) -> Kind:
    """The kind of object a path names."""
    if kind not in KINDS:
        raise errors.invalid(f"Unable to infer object type from: {kind}")
    return KINDS[kind]


async def _properties(properties: Names = ()) -> list[str]:
    return ",".join(properties).split(",")


async def _associations(associations: Names = ()) -> list[Kind]:
    return [await kind_of(name) for name in ",".join(associations).split(",") if name]


OfAccount = Annotated[Account, Depends(_account)]
OfKind = Annotated[Kind, Depends(kind_of)]
Wanted = Annotated[list[str], Depends(_properties)]
With = Annotated[list[Kind], Depends(_associations)]
Answer = dict[str, Any]


@router.post("/crm/v3/objects/contacts/gdpr-delete", status_code=204)
async def gdpr_delete(body: bodies.GdprDelete, account: OfAccount) -> None:
    account.gdpr_delete(body.object_id, body.id_property)


@router.post("/crm/v3/objects/contacts/merge")
async def merge(body: bodies.Merge, account: OfAccount) -> Answer:
    return shape(account.merge(body.primary_object_id, body.object_id_to_merge), ())


@router.post("/crm/v3/objects/{kind}/search")
async def search(body: Search, kind: OfKind, account: OfAccount) -> Answer:
    body.check(kind)
    found = [(record, content) for record, content in account.index(kind.name) if body.met_by(content)]
    end = body.after + body.limit
    results = [shape(record, body.properties, content) for record, content in found[body.after : end]]
    return {"total": len(found), "results": results, **paging(str(end) if end < len(found) else None)}


@router.post("/crm/v3/objects/{kind}/batch/read")
async def batch_read(
    body: bodies.BatchRead, kind: OfKind, account: OfAccount, response: Response, archived: bool = False
) -> Answer:
    asked = {one.id: account.read(kind.name, one.id, body.id_property, archived=archived) for one in body.inputs}
    found = {record.id: shape(record, body.properties) for record in asked.values() if record}
    missing = [id_ for id_, record in asked.items() if record is None]
    return batch(account, response, list(found.values()), _missing(kind, missing))


@router.post("/crm/v3/objects/{kind}/batch/create", status_code=201)
async def batch_create(body: bodies.Creates, kind: OfKind, account: OfAccount, response: Response) -> Answer:
    made = _create(account, kind, body.inputs)
    return batch(account, response, [shape(record, kind.properties) for record in made], [])


@router.post("/crm/v3/objects/{kind}/batch/update")
async def batch_update(body: bodies.Updates, kind: OfKind, account: OfAccount, response: Response) -> Answer:
    records, missing = account.update(kind.name, [(one.id, one.properties) for one in body.inputs])
    return batch(account, response, [shape(record, kind.properties) for record in records], _missing(kind, missing))


@router.post("/crm/v3/objects/{kind}/batch/archive", status_code=204)
async def batch_archive(body: bodies.Ids, kind: OfKind, account: OfAccount) -> None:
    account.archive(kind.name, [input_.id for input_ in body.inputs])


@router.post("/crm/v3/objects/{kind}", status_code=201)
async def create(body: bodies.Create, kind: OfKind, account: OfAccount) -> Answer:
    return shape(_create(account, kind, [body])[0], kind.properties)


@router.get("/crm/v3/objects/{kind}")
async def page(
    kind: OfKind,
    account: OfAccount,
    wanted: Wanted,
    with_: With,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    after: int = 0,
    archived: bool = False,
) -> Answer:
    rest = [record for record in account.all(kind.name, archived=archived) if int(record.id) > after]
    results = [_whole(account, record, wanted, with_) for record in rest[:limit]]
    return {"results": results, **paging(rest[limit - 1].id if len(rest) > limit else None)}


@router.get("/crm/v3/objects/{kind}/{id_}")
async def read(
    kind: OfKind,
    id_: str,
    account: OfAccount,
    wanted: Wanted,
    with_: With,
    id_property: Annotated[str | None, Query(alias="idProperty")] = None,
    archived: bool = False,
) -> Answer:
    record = account.read(kind.name, id_, id_property, archived=archived)
    if record is None:
        raise errors.not_found()
    return _whole(account, record, wanted, with_)


@router.patch("/crm/v3/objects/{kind}/{id_}")
async def update(id_: str, body: bodies.Update, kind: OfKind, account: OfAccount) -> Answer:
    records, _ = account.update(kind.name, [(id_, body.properties)])
    if not records:
        raise errors.not_found()
    return shape(records[0], kind.properties)


@router.delete("/crm/v3/objects/{kind}/{id_}", status_code=204)
async def archive(id_: str, kind: OfKind, account: OfAccount) -> None:
    account.archive(kind.name, [id_])


@router.get("/crm/v3/properties/{kind}")
async def properties(kind: OfKind) -> Answer:
    return {"results": [_definition(kind, name) for name in sorted(kind.properties)]}


def _create(account: Account, kind: Kind, inputs: Sequence[bodies.Create]) -> list[Record]:
    links = [[_target(account, kind, link) for link in input_.associations] for input_ in inputs]
    return account.create(kind.name, [input_.properties for input_ in inputs], links)


def _target(account: Account, kind: Kind, link: bodies.Link) -> str:
    """The object to tie a new one to; its kind follows from the number of the tie."""
    for type_ in link.types:
        for (from_, to), number in ASSOCIATION_TYPES.items():
            if from_ == kind.name and number == type_.association_type_id and (record := account.read(to, link.to.id)):
                return record.id
    raise errors.invalid("Association type or its target object is invalid", "INVALID_ASSOCIATION")


def _definition(kind: Kind, name: str) -> Answer:
    return {
        "name": name,
        "label": name,
        "type": "string",
        "fieldType": "text",
        "description": "",
        "options": [],
        "groupName": f"{kind.singular}information",
        "calculated": name in kind.calculated,
        "hidden": False,
        "modificationMetadata": {"readOnlyValue": name not in kind.writable, "readOnlyDefinition": True},
    }


def _whole(account: Account, record: Record, wanted: Iterable[str], with_: Iterable[Kind]) -> Answer:
    """An object with its ties; a kind it has none of is left out."""
    ties = {}
    for kind in with_:
        type_ = f"{KINDS[record.kind].singular}_to_{kind.singular}"
        if ids := account.associated(record, kind.name):
            ties[kind.name] = {"results": [{"id": id_, "type": type_} for id_ in ids]}
    return shape(record, wanted) | ({"associations": ties} if ties else {})


def paging(after: str | None) -> Answer:
    """Where the next page begins; nothing on the last one."""
    return {"paging": {"next": {"after": after, "link": f"?after={after}"}}} if after else {}


def _missing(kind: Kind, ids: list[str]) -> list[Mapping[str, Any]]:
    return [errors.missing_from_batch(kind.singular.upper(), ids)] if ids else []


def batch(account: Account, response: Response, results: list[Answer], failures: list[Mapping[str, Any]]) -> Answer:
    """A batch's answer: 207 when a part of it failed."""
    now = stamp(account.now())
    answer: Answer = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
    if failures:
        response.status_code = 207
        answer |= {"numErrors": len(failures), "errors": failures}
    return answer
