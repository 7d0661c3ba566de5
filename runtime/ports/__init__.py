"""What does the house need from outside?

Small protocols; the adapters stand in `adapters/`. The memory adapter of each port is its executable specification, and
one conformance suite in `tests/contracts/` runs on every adapter. Everybody imports from here; the pages are one topic
each.

Rules
1. A port speaks in values of this house (`names`, `invocation`), never in rows, keys or exceptions of a library.
2. A method that changes something has changed it durably when it returns, or has changed nothing when it raises.
3. Nothing here is asked for twice per request: what the hot path needs is remembered by `execution/directory.py`.
"""

from runtime.ports.documents import (
    Commit,
    DocumentStore,
    Followed,
    KeyRange,
    Order,
    Page,
    Snapshot,
    Write,
)
from runtime.ports.files import (
    Content,
    Files,
    FilesUnavailable,
    Writing,
)
from runtime.ports.logs import (
    Following,
    LogEntry,
    LogQuery,
    Logs,
)
from runtime.ports.outside import (
    Clock,
    Desk,
    FetchFailed,
    Incoming,
    KeySets,
    LookupFailed,
    Outgoing,
    Reading,
    Web,
)
from runtime.ports.queue import (
    Agenda,
    Analysis,
    Call,
    DueBook,
    Errand,
    ErrandDesk,
    Errands,
    Knocks,
    Taken,
)
from runtime.ports.registry import (
    Deployments,
    DeploymentSummary,
    Keys,
    KeySummary,
    Variables,
    Versions,
    VersionSummary,
)

__all__ = [
    "Agenda",
    "Analysis",
    "Call",
    "Clock",
    "Commit",
    "Content",
    "DeploymentSummary",
    "Deployments",
    "Desk",
    "DocumentStore",
    "DueBook",
    "Errand",
    "ErrandDesk",
    "Errands",
    "FetchFailed",
    "Files",
    "FilesUnavailable",
    "Followed",
    "Following",
    "Incoming",
    "KeyRange",
    "KeySets",
    "KeySummary",
    "Keys",
    "Knocks",
    "LogEntry",
    "LogQuery",
    "Logs",
    "LookupFailed",
    "Order",
    "Outgoing",
    "Page",
    "Reading",
    "Snapshot",
    "Taken",
    "Variables",
    "VersionSummary",
    "Versions",
    "Web",
    "Write",
    "Writing",
]
