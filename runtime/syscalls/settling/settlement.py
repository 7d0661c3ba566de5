"""What becomes durable together with a mutation's writes?

Somebody who has a mutation run may have something to settle: a sync client's ticket, the record of a scheduled
function. It is looked at before the function runs and written down after it, in the function's own transaction, so
either both are there or neither is; and whoever else does the same at the same time conflicts.
"""

from typing import Protocol

from runtime.invocation import Outcome
from runtime.syscalls.transaction import Transaction


class Settlement(Protocol):
    """One thing that is settled with a mutation. Asked again for each attempt."""

    async def recall(self, transaction: Transaction) -> Outcome | None:
        """How it ended, when there is nothing (more) to run."""
        ...

    def record(self, outcome: Outcome, transaction: Transaction) -> bool:
        """Write down how the function ended, and say whether to commit. Of a failed one's writes nothing may be left.

        Nothing is awaited between this and the commit.
        """
        ...

    def committed(self, position: int) -> None:
        """What was recorded is durable."""
        ...
