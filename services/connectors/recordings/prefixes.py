"""Which keys are a subject's: exact prefixes, filled in from what is known of them. Pure; the file to read first.

A prefix that is too wide erases somebody else. So every part that is filled in is one harmless word, and every prefix
ends with the `/` that the inventory's loader demands: `own/calls/12/` holds nothing of call 123.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from services.connectors.port import Subject, Terminal
from services.kit.inventory import KeyRule

_WORD: Final = re.compile(r"(?=.*\w)[\w.:@+-]+", re.ASCII)
"""What may be filled in. No `/`, no `..`, nothing that a store or a URL might read in another way."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The prefix of one record's objects."""

    text: str = field(repr=False)
    record: Mapping[str, str] = field(repr=False, hash=False, compare=False)
    """By kind, the identifiers that are in it."""


def searchable(rules: Iterable[KeyRule], subject: Subject) -> list[KeyRule]:
    """The rules of the request's role that can be filled in from what is known."""
    return [
        rule
        for rule in rules
        if rule.role is subject.scope.role and rule.kinds and rule.kinds == subject.usable_kinds(rule.kinds)
    ]


def prefixes(rules: Iterable[KeyRule], subject: Subject) -> list[Prefix]:
    """Every prefix under which objects of the subject may lie. Raises `Terminal` (`odd_identifier`)."""
    found = []
    for rule in searchable(rules, subject):
        kinds = sorted(rule.kinds)
        for values in product(*(sorted(subject.values(kind)) for kind in kinds)):
            record = dict(zip(kinds, values, strict=True))
            tenant = {} if subject.scope.tenant is None else {"tenant": subject.scope.tenant}
            if not all(_WORD.fullmatch(value) for value in (*values, *tenant.values())):
                raise Terminal("odd_identifier")
            found.append(Prefix(rule.prefix.format_map({**record, **tenant}), record))
    return found
