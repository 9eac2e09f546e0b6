"""Values that mark nobody: typed where a form insisted, or belonging to a machine."""

import re
from typing import Final

_WORDS: Final = frozenset({"unknown", "none", "null", "n/a", "na", "nobody", "anonymous", "test", "-", "0"})
_MACHINES: Final = re.compile(r"^(no-?reply|do-?not-?reply|mailer-daemon|postmaster|unknown|test|none)@", re.IGNORECASE)
_ONE_DIGIT: Final = re.compile(r"^\+?\d{0,3}?(\d)\1{6,}$")


def is_placeholder(value: str) -> bool:
    """True for `unknown`, `+33000000000`, `noreply@...` and their like: a person decides whether it is meant."""
    stripped = value.strip()
    return stripped.casefold() in _WORDS or bool(_MACHINES.match(stripped) or _ONE_DIGIT.match(stripped))
