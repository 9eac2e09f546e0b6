"""From what a connector answers to what is reported, and to what the vault learns. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.reports import Conflict, LearntCount, Result, TaskReported
from contracts.tasks import TaskIssued
from services.connectors.port import (
    Contested,
    Erasure,
    Export,
    Findings,
    Identifier,
    Revoked,
    Standing,
    Terminal,
    Transient,
)
from services.kit.vault import VaultIdentifier

Answer = Findings | Erasure | Export | Transient | Terminal | Revoked
Known = Mapping[tuple[str, str], VaultIdentifier]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one answer adds to what is known of a subject."""

    keep: tuple[VaultIdentifier, ...] = ()
    """To store: new ones, and known ones whose ties or doubts changed."""
    counts: Mapping[str, LearntCount] | None = None
    """Of those, what other stores may be asked with anew."""


def report_of(task: TaskIssued, answer: Answer, learnt: Learnt) -> TaskReported:
    """The report, still without its MAC."""
    about = task.model_dump(include={"task_id", "request_id", "round", "attempt", "store", "action"})
    match answer:
        case Revoked():
            said: dict[str, Any] = {"result": Result.REVOKED}
        case Transient():
            said = {"result": Result.TRANSIENT, "code": answer.code, "retry_after_s": answer.retry_after_s}
        case Terminal():
            said = {"result": Result.TERMINAL, "code": answer.code}
        case Export():
            said = {"result": Result.DONE, "members": answer.members}
        case Findings():
            said = _looked(answer, learnt)
        case Erasure():
            said = _looked(answer, learnt) | {
                "erased": answer.erased, "anonymised": answer.anonymised,
                "level": answer.level, "bound_on": answer.bound_on,
            }  # fmt: skip
    return TaskReported.model_validate(about | said)


def _looked(answer: Findings | Erasure, learnt: Learnt) -> dict[str, Any]:
    return {
        "result": Result.DONE,
        "asked_with": sorted(answer.asked_with),
        "found": answer.found,
        "retained": answer.retained,
        "locked": answer.locked,
        "learnt": learnt.counts or {},
        "conflicts": _conflicts(answer.contested),
    }


def _conflicts(contested: Iterable[Contested]) -> list[Conflict]:
    counts = Counter[tuple[str, str, str]]()
    for each in contested:
        counts[each.code, each.identifier.kind, each.category] += each.count
    return [
        Conflict.model_validate({"code": code, "kind": kind, "category": category, "count": count})
        for (code, kind, category), count in sorted(counts.items())
    ]


def learn(answer: Answer, known: Known, store: str) -> Learnt:
    """What is new in an answer. What a person set aside, or has yet to judge, is not new again."""
    if not isinstance(answer, Findings | Erasure):
        return Learnt()
    keep: dict[tuple[str, str], VaultIdentifier] = {}
    trusted, unverified = Counter[str](), Counter[str]()
    for revealed in answer.revealed:
        before = known.get((revealed.kind, revealed.value))
        if before is None:
            doubtful = revealed.standing is Standing.UNVERIFIED
            (unverified if doubtful else trusted)[revealed.kind] += 1
            keep[revealed.kind, revealed.value] = _new(revealed, store)
        elif _tie(before.alone, revealed.alone) is not before.alone:
            trusted[revealed.kind] += before.standing in (Standing.TRUSTED, Standing.CONFIRMED)
            keep[revealed.kind, revealed.value] = _again(before, alone=revealed.alone)
    for contested in answer.contested:
        place = (contested.identifier.kind, contested.identifier.value)
        like = keep.get(place) or known.get(place) or _new(contested.identifier, store)
        keep[place] = _again(like, alone=like.alone, contested=contested.code)
    counts = {
        kind: LearntCount(trusted=trusted[kind], unverified=unverified[kind])
        for kind in sorted({*trusted, *unverified})
        if trusted[kind] or unverified[kind]
    }
    return Learnt(tuple(keep.values()), counts)


def _new(identifier: Identifier, store: str) -> VaultIdentifier:
    doubt = "unverified" if identifier.standing is Standing.UNVERIFIED else None
    return VaultIdentifier(
        identifier.kind, identifier.value, identifier.standing, store, alone=identifier.alone, contested=doubt
    )


def _again(like: VaultIdentifier, *, alone: bool | None, contested: str | None = None) -> VaultIdentifier:
    return VaultIdentifier(like.kind, like.value, like.standing, like.found_by, alone, contested or like.contested)


def _tie(before: bool | None, now: bool | None) -> bool | None:
    """A tie to others is never taken back by a store that knows of one person only."""
    if before is False or now is False:
        return False
    return before if now is None else now
