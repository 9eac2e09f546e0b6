"""What others see of a saga."""

from contracts.status import AttentionStatus, BundleStatus, StatusChanged, StatusDocument, StoreState, StoreStatus
from services.coordinator.saga.amend import choices
from services.coordinator.saga.deadline import Deadline, receipt_date
from services.coordinator.saga.state import Saga, Store, World

_AFTER_ERASING = (StoreState.ERASED, StoreState.PROVING, StoreState.PROVED)


def document(saga: Saga, deadline: Deadline, world: World, trace_id: str | None) -> StatusDocument:
    """The status document of INTERFACE. Days left are counted when it is read."""
    attention = saga.attention and AttentionStatus(
        code=saga.attention.code, since=saga.attention.since, choices=choices(saga.attention.code)
    )
    return StatusDocument(
        request_id=saga.request_id,
        right=saga.right,
        phase=saga.phase,
        outcome=saga.outcome,
        revision=saga.revision,
        controller=saga.controller,
        our_role=saga.role,
        publisher=saga.publisher,
        attention=attention,
        received_on=saga.received_on,
        due_on=deadline.due_on,
        strict_due_on=deadline.strict_due_on,
        extended=saga.extended,
        informed_on=saga.informed_on,
        stores=tuple(_store(name, store) for name, store in sorted(saga.stores.items())),
        bundle=_bundle(saga, world),
        trace_id=trace_id,
    )


def changed(saga: Saga, deadline: Deadline, journal_head: str) -> StatusChanged:
    """What the status topic says."""
    return StatusChanged(
        request_id=saga.request_id,
        revision=saga.revision,
        right=saga.right,
        phase=saga.phase,
        outcome=saga.outcome,
        code=saga.attention.code if saga.attention else None,
        due_on=deadline.due_on,
        journal_head=journal_head,
    )


def _store(name: str, store: Store) -> StoreStatus:
    return StoreStatus(
        store=name,
        state=StoreState.BLOCKED if store.error else store.state,
        level=store.level,
        asked_with=store.asked_with,
        found=store.found,
        erased=store.erased,
        remaining=store.left if store.state in _AFTER_ERASING else {},
        retained=store.retained,
        locked=store.locked,
        attempts=store.attempts,
        error=store.error,
    )


def _bundle(saga: Saga, world: World) -> BundleStatus | None:
    if saga.bundle_ready_at is None or saga.bundle_expires_at is None:
        return None
    return BundleStatus(
        ready_on=receipt_date(saga.bundle_ready_at, world.calendar),
        expires_on=receipt_date(saga.bundle_expires_at, world.calendar),
    )
