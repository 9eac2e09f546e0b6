"""What a request and a decision must be before the console signs them. Pure."""

from datetime import date, datetime
from uuid import UUID

from contracts.requests import DecisionKind as D
from contracts.requests import Name, Submission
from contracts.status import Phase, StatusDocument
from services.console.access import DECISIONS, Principal
from services.console.documents import NewRequest
from services.console.problems import Problem, invalid
from services.kit.calendars import zone_of
from services.kit.inventory import Inventory, Role


def today(inventory: Inventory, controller: Name, now: datetime) -> date:
    """The controller's local date."""
    return now.astimezone(zone_of(inventory.controllers[controller].calendar)).date()


def completed(body: NewRequest, principal: Principal, inventory: Inventory, now: datetime, new_id: UUID) -> Submission:
    """The payload to sign. Raises `Problem` 422 naming what can't be used."""
    controller = body.controller or _ours(inventory)
    if controller is None or controller not in principal.controllers & set(inventory.controllers):
        raise invalid([("controller", "not one that this token may ask for")])
    local = today(inventory, controller, now)
    wrong = [
        (f"identifiers.{number}.kind", "not a kind that the inventory declares")
        for number, given in enumerate(body.identifiers)
        if given.kind not in inventory.kinds
    ]
    if body.received_on and body.received_on > local:
        wrong.append(("received_on", "in the future, by the controller's local time"))
    if wrong:
        raise invalid(wrong)
    return Submission(
        request_id=body.request_id or new_id,
        right=body.right,
        controller=controller,
        received_on=body.received_on or local,
        issued_at=now,
        identity=body.identity,
        export_first=body.export_first,
        identifiers=body.identifiers,
    )


def _ours(inventory: Inventory) -> Name | None:
    """The controller that goes without saying."""
    ours = [name for name, controller in inventory.controllers.items() if controller.role is Role.CONTROLLER]
    return ours[0] if len(ours) == 1 else None


def choices(status: StatusDocument) -> tuple[D, ...]:
    """What may be decided about a request as it stands, by anybody. The coordinator has the last word."""
    offered = list(status.attention.choices) if status.attention else []
    if status.right is None:
        return (*offered, D.INFORM)
    if status.phase is Phase.ON_HOLD:
        offered.append(D.RELEASE)
    if status.phase is not Phase.CLOSED:
        offered += [D.WITHDRAW, D.HOLD, D.EXTEND]
    if status.bundle is not None:
        offered.append(D.RELEASE_BUNDLE)
    return (*offered, D.INFORM)


def check_decision(decision: D, status: StatusDocument, principal: Principal) -> None:
    """Raises `Problem`: 403 if the role never decides that, 409 with the choices if the request does not offer it."""
    if decision not in DECISIONS[principal.role]:
        raise Problem(403, "forbidden", f"The role {principal.role.value} may not decide {decision.value}.")
    offered = choices(status)
    if decision not in offered:
        raise Problem(
            409, "not_offered", f"{decision.value} is not offered in phase {status.phase.value}: see `choices`.",
            choices=[choice.value for choice in offered],
        )  # fmt: skip
