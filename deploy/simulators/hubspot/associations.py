"""What is tied to what: associations as v3 and v4 answer them ("Associations v4", "Associations v3")."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from deploy.simulators.hubspot import bodies
from deploy.simulators.hubspot.account import Account
from deploy.simulators.hubspot.errors import no_associations
from deploy.simulators.hubspot.objects import Answer, OfAccount, OfKind, batch, kind_of, paging
from deploy.simulators.hubspot.record import Record
from deploy.simulators.hubspot.schema import ASSOCIATION_TYPES, Kind

router = APIRouter()

_PAGE = 500
"""Ties of one object that an answer holds at the most."""


async def _to(to: str) -> Kind:
    return await kind_of(to)


To = Annotated[Kind, Depends(_to)]


@router.post("/crm/v4/associations/{kind}/{to}/batch/read")
async def batch_read(body: bodies.BatchLinks, kind: OfKind, to: To, account: OfAccount, response: Response) -> Answer:
    results, failures = [], []
    for input_ in body.inputs:
        record = account.read(kind.name, input_.id)
        if record is None or not account.associated(record, to.name):
            failures.append(no_associations(kind.singular, input_.id, to.singular))
        else:
            ties, next_ = _page(account, record, to, input_.after)
            results.append({"from": {"id": input_.id}, "to": [_tie(kind, to, id_) for id_ in ties], **paging(next_)})
    return batch(account, response, results, failures)


@router.post("/crm/v3/associations/{kind}/{to}/batch/read")
async def batch_read_v3(body: bodies.Ids, kind: OfKind, to: To, account: OfAccount, response: Response) -> Answer:
    type_, results = f"{kind.singular}_to_{to.singular}", []
    for input_ in body.inputs:
        record = account.read(kind.name, input_.id)
        ties = account.associated(record, to.name) if record else []
        results.append({"from": {"id": input_.id}, "to": [{"id": id_, "type": type_} for id_ in ties]})
    return batch(account, response, [result for result in results if result["to"]], [])


def _page(account: Account, record: Record, to: Kind, after: str) -> tuple[list[str], str | None]:
    rest = [id_ for id_ in account.associated(record, to.name) if int(id_) > int(after)]
    return rest[:_PAGE], rest[_PAGE - 1] if len(rest) > _PAGE else None


def _tie(kind: Kind, to: Kind, id_: str) -> Answer:
    type_ = {"category": "HUBSPOT_DEFINED", "typeId": ASSOCIATION_TYPES[kind.name, to.name], "label": None}
    return {"toObjectId": int(id_), "associationTypes": [type_]}
