"""What does an agenda do?

The executable specification of `Agenda`, kept in memory: for each deployment the earliest moment that was noted.

Rules
1. The earliest note wins. Who takes a deployment has its note, and notes anew when there is more to do.
"""

from runtime.names import DeploymentName


class MemoryAgenda:
    """When to look at which deployment, gone with the process."""

    def __init__(self) -> None:
        self.moments: dict[DeploymentName, float] = {}

    def note(self, name: DeploymentName, at: float) -> None:
        """See `Agenda.note`."""
        self.moments[name] = min(at, self.moments.get(name, at))

    def take(self, now: float) -> list[DeploymentName]:
        """Whose moment has come, the longest overdue first; they are off the list until they are noted again."""
        due = sorted((at, name) for name, at in self.moments.items() if at <= now)
        for _, name in due:
            del self.moments[name]
        return [name for _, name in due]
