"""From what a connector answers to what is reported, and to what the vault learns. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

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
"""By kind and value."""

_USABLE: Final = (Standing.TRUSTED, Standing.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one answer adds to what is known of a subject."""

    keep: tuple[VaultIdentifier, ...]
    """To store: new ones, and known ones whose ties or doubts changed."""
    counts: Mapping[str, LearntCount]
    """Of those, what other stores may be asked with anew, by kind."""


def report_of(task: TaskIssued, answer: Answer) -> TaskReported:
    """The report, still without what was learnt and without its MAC. Raises `ValueError` for what can't be reported."""
    about = task.model_dump(exclude={"schema_version", "due_at"})
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
            said = _looked(answer)
        case Erasure():
            said = _looked(answer) | {
                "erased": answer.erased, "anonymised": answer.anonymised,
                "level": answer.level, "bound_on": answer.bound_on,
            }  # fmt: skip
    return TaskReported.model_validate(about | said)


def _looked(answer: Findings | Erasure) -> dict[str, Any]:
    return {
        "result": Result.DONE,
        "asked_with": sorted(answer.asked_with),
        "found": answer.found,
        "retained": answer.retained,
        "locked": answer.locked,
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
        return Learnt((), {})
    doubts = {contested.identifier: contested.code for contested in answer.contested}
    keep = []
    trusted, unverified = Counter[str](), Counter[str]()
    for identifier in sorted({*answer.revealed, *doubts}, key=lambda each: (each.kind, each.value)):
        before = known.get((identifier.kind, identifier.value))
        doubt = doubts.get(identifier)
        if before is None:
            waits = identifier.standing is Standing.UNVERIFIED
            (unverified if waits else trusted)[identifier.kind] += 1
            keep.append(_new(identifier, store, doubt or ("unverified" if waits else None)))
        elif before.standing in _USABLE:
            alone = _tie(before.alone, identifier.alone)
            trusted[identifier.kind] += alone is not before.alone
            if (alone, doubt or before.contested) != (before.alone, before.contested):
                keep.append(replace(before, alone=alone, contested=doubt))
    counts = {
        kind: LearntCount(trusted=trusted[kind], unverified=unverified[kind])
        for kind in sorted({*+trusted, *+unverified})
    }
    return Learnt(tuple(keep), counts)


def _new(identifier: Identifier, store: str, doubt: str | None) -> VaultIdentifier:
    return VaultIdentifier(identifier.kind, identifier.value, identifier.standing, store, identifier.alone, doubt)


def _tie(before: bool | None, now: bool | None) -> bool | None:
    """A tie to others is never taken back by a store that knows of one person only."""
    if before is False or now is False:
        return False
    return before if now is None else now
