"""The plan of a request: its phases, what may fail and how often, and what a person may choose. The file to read first.

    received ─▶ discovering ─▶ awaiting_decision ─▶ exporting │ erasing ─▶ proving ─▶ closed
     │  ▲          ▲           (if policy wants it)        │                  │
     ▼  │          └──────── every way back leads here ────┴──────────────────┘
    identity_check, waiting (another request of this person is being acted on), on_hold, needs_attention

A phase with an action asks stores in rounds. A round is settled when every task of it is reported or revoked; what
comes then is the step of that phase in `steps`. An erasure can't be taken back, so nothing is compensated: what fails
is tried again, then a person is asked, with a code and the choices that code offers.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from contracts.requests import DecisionKind as D
from contracts.status import Phase
from contracts.tasks import Action

ACTION: Final[Mapping[Phase, Action]] = {
    Phase.DISCOVERING: Action.DISCOVER,
    Phase.EXPORTING: Action.EXPORT,
    Phase.ERASING: Action.ERASE,
    Phase.PROVING: Action.DISCOVER,
}
"""What a round of each phase asks of the stores."""

CHOICES: Final[Mapping[str, tuple[D, ...]]] = {
    "approval": (D.APPROVE, D.REJECT),
    "nothing_found": (D.ACCEPT, D.RETRY, D.REJECT),
    "shared_identifier": (D.APPROVE, D.ACCEPT, D.REJECT),
    "not_one_person": (D.APPROVE, D.ACCEPT, D.REJECT),
    "placeholder": (D.APPROVE, D.ACCEPT, D.REJECT),
    "unverified": (D.APPROVE, D.ACCEPT, D.REJECT),
    "store_failed": (D.RETRY, D.RECORD, D.ACCEPT),
    "not_searchable": (D.RETRY, D.RECORD, D.ACCEPT),
    "no_fixpoint": (D.RETRY, D.RECORD, D.ACCEPT),
    "proof_failed": (D.RETRY, D.RECORD, D.ACCEPT),
    "locked": (D.RETRY,),  # accepting a lock on a ground comes with the timer that erases at its date
    "identity": (D.VERIFY_IDENTITY, D.ASK_IDENTITY, D.REJECT),
    "invalid_submission": (D.REJECT,),
}
"""What a person may choose, by attention code."""

JUDGEMENTS: Final = ("placeholder", "not_one_person", "shared_identifier", "unverified")
"""Codes about whose data something is, most doubtful first. All must be settled before the first act."""

WHILE_OPEN: Final = frozenset({D.WITHDRAW, D.HOLD, D.EXTEND, D.INFORM})
"""Decisions that need no question; `release` ends a hold, `inform` and `release-bundle` are heard after closing too."""

DISCOVERY_ROUNDS: Final = 5
"""Without a fixpoint by then, a person looks."""

UNATTENDED_RETURNS: Final = 3
"""This return to discovery goes to a person instead."""

PERSON_IDENTIFIERS: Final = 20
"""One person has fewer."""

RETRY_AFTER: Final = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 15, 60, 300, 1800, 2 * 3600, 6 * 3600))
"""Pauses after transient failures of a store within a round; a longer one that the store named wins. Then a person."""

ANSWER_WITHIN: Final = tuple(timedelta(seconds=seconds) for seconds in (20, 40, 80, 160, 320, 640))
"""Without a word from a store, its task is issued again under the same id after these; then `no_answer`."""

CALL_TIMEOUT: Final = timedelta(seconds=120)
"""The longest that one call into a store may take without a checkpoint: so long after its permit was withdrawn, a task
counts as revoked even if its worker never said so."""

POLL_FIRST: Final = timedelta(seconds=2)
POLL_LONGEST: Final = timedelta(hours=6)
"""How often a store within its vendor's bound is asked again: twice as long each time, up to the longest."""

PICKUP: Final = timedelta(days=14)
"""Default for how long a bundle waits; the inventory's `bundles.pickup_days` is handed in."""
