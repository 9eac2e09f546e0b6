"""The search endpoint's filters ("Search the CRM"): pure, over what the index shows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from deploy.simulators.hubspot.bodies import Body
from deploy.simulators.hubspot.errors import invalid
from deploy.simulators.hubspot.schema import Kind

_MOST_FILTERS, _MOST_RESULTS = 18, 10_000
_VALUES = Literal["EQ", "NEQ", "IN", "NOT_IN", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"]


class Filter(Body):
    """One condition."""

    property_name: str
    operator: Literal["HAS_PROPERTY", "NOT_HAS_PROPERTY"] | _VALUES
    value: str = ""
    values: list[str] = []

    def met_by(self, content: Mapping[str, str]) -> bool:
        """True if an object with that content is found."""
        stored = content.get(self.property_name, "").lower()
        match self.operator.removeprefix("NOT_").replace("NEQ", "EQ"):
            case "HAS_PROPERTY":
                met = bool(stored)
            case "EQ":
                met = stored == self.value.lower()
            case "IN":
                met = stored in self.values
            case _:
                met = _holds(stored, self.value.lower())
        return met != self.operator.startswith("N")


class FilterGroup(Body):
    """Conditions that must all be met."""

    filters: list[Filter] = Field(max_length=6)


class Search(Body):
    """The body of a search. Groups are alternatives."""

    filter_groups: list[FilterGroup] = Field(default=[], max_length=5)
    properties: list[str] = []
    limit: int = Field(default=10, ge=1, le=200)
    after: int = Field(default=0, ge=0)

    def check(self, kind: Kind) -> None:
        """Raises the vendor's 400 for a limit passed or a property that does not exist."""
        filters = [filter_ for group in self.filter_groups for filter_ in group.filters]
        if len(filters) > _MOST_FILTERS:
            raise invalid(f"Too many filters: {len(filters)}, at most {_MOST_FILTERS}")
        if self.after + self.limit > _MOST_RESULTS:
            raise invalid(f"Paging past {_MOST_RESULTS} results is not possible")
        for filter_ in filters:
            if filter_.property_name not in kind.properties:
                raise invalid(f'Property "{filter_.property_name}" does not exist', "PROPERTY_DOESNT_EXIST")

    def met_by(self, content: Mapping[str, str]) -> bool:
        """True if an object with that content is found."""
        groups: Iterable[FilterGroup] = self.filter_groups
        return not self.filter_groups or any(all(f.met_by(content) for f in group.filters) for group in groups)


def _holds(stored: str, value: str) -> bool:
    """True if the words of `value` stand in `stored` in that order: `ann@x.org` is found in `jo.ann@x.org`, too."""
    words, wanted = _words(stored), _words(value)
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _words(text: str) -> Sequence[str]:
    return re.findall(r"\w+", text)
