"""What can be said on a sync connection, and how is it written?

The messages of Convex's sync protocol, as its JavaScript, Python and Rust clients write and read them. Pure.

Rules
1. What a client leaves out and could leave out is tolerated; what it may not say does not decode.
2. Every server message has all the fields that any client needs: a missing ``logLines`` wedges one and sends another
   into an endless loop. ``errorData`` is there for an application's own error, and only then.
3. Positions are written as base64 of eight bytes, lowest first; times are whole numbers.
"""

import base64
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, assert_never

import msgspec

from runtime.edge.functions.results import Format, error_data, error_message, write
from runtime.edge.problems import Details
from runtime.invocation import Failed, Outcome, Succeeded
from runtime.names import RequestId

U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_EIGHT = struct.Struct("<Q")
_LONGEST_ID = 128


class Malformed(Exception):
    """This is no message of the protocol; the text says what is wrong."""


class _Message(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type"):
    pass


class Connect(_Message, frozen=True, tag="Connect"):
    """The first message. ``client_ts`` is the client's clock in milliseconds, 0 where it does not say."""

    session_id: Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_ID)]
    connection_count: int = 0
    client_ts: float | None = None


class Add(_Message, frozen=True, tag="Add"):
    """Subscribe to a query."""

    query_id: U32
    udf_path: str
    args: Any = None
    journal: str | None = None
    component_path: str | None = None


class Remove(_Message, frozen=True, tag="Remove"):
    """Want to know no more of a query."""

    query_id: U32


class ModifyQuerySet(_Message, frozen=True, tag="ModifyQuerySet"):
    """Change what is subscribed to."""

    base_version: U32
    new_version: U32
    modifications: list[Add | Remove]


class Mutation(_Message, frozen=True, tag="Mutation"):
    """Run a mutation, once."""

    request_id: U32
    udf_path: str
    args: Any = None
    component_path: str | None = None


class Action(_Message, frozen=True, tag="Action"):
    """Run an action."""

    request_id: U32
    udf_path: str
    args: Any = None
    component_path: str | None = None


class Authenticate(_Message, frozen=True, tag="Authenticate"):
    """From now on this is who calls."""

    base_version: U32
    token_type: str
    value: str | None = None
    impersonating: dict[str, Any] | None = None
    acting_as: dict[str, Any] | None = None


class Event(_Message, frozen=True, tag="Event"):
    """Something a client measured; nobody reads it."""


ClientMessage = Connect | ModifyQuerySet | Mutation | Action | Authenticate | Event
_decoder = msgspec.json.Decoder(ClientMessage)
_encode = msgspec.json.Encoder().encode


def read(text: str) -> ClientMessage:
    """One message of a client; raise `Malformed`."""
    try:
        message: ClientMessage = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise Malformed(f"this is no message of the sync protocol: {error}") from None
    return message


# --- said by the server -----------------------------------------------------------------------------------------------


class StateVersion(NamedTuple):
    """How far a connection has come: its query set, its identity, the commits that it has seen."""

    query_set: int
    identity: int
    position: int

    def text(self) -> str:
        """As it is written."""
        return _state(self)


PING = '{"type":"Ping"}'


def write_position(position: int) -> str:
    """A position as clients compare it."""
    return base64.b64encode(_EIGHT.pack(position)).decode()


@lru_cache(64)  # after a commit, all who hear of it go from one state to one other
def _state(version: StateVersion) -> str:
    position = write_position(version.position)
    return f'{{"querySet":{version.query_set},"identity":{version.identity},"ts":"{position}"}}'


def read_position(text: str) -> int:
    """A position that a client gives back; raise `Malformed`."""
    try:
        position: int = _EIGHT.unpack(base64.b64decode(text, validate=True))[0]
    except (ValueError, struct.error):
        raise Malformed("ts is not base64 of eight bytes, as this server gives it out") from None
    return position


def transition(start: StateVersion, end: StateVersion, modifications: Sequence[str], skew: int | None, now: int) -> str:
    """From one state to the next; ``skew`` and ``now`` are the client's clock minus ours in ms, and ours in ns."""
    return (
        f'{{"type":"Transition","startVersion":{start.text()},"endVersion":{end.text()},'
        f'"modifications":[{",".join(modifications)}],'
        f'"clientClockSkew":{"null" if skew is None else skew},"serverTs":{now}}}'
    )


def query_removed(query: int) -> str:
    """A modification: this query is gone."""
    return f'{{"type":"QueryRemoved","queryId":{query}}}'


def query_result(query: int, content: str) -> str:
    """A modification: this query has this result (`result_content`)."""
    kind, _, rest = content.partition("|")
    return f'{{"type":"{kind}","queryId":{query},{rest}'


def result_content(outcome: Outcome, journal: str | None, request_id: RequestId, details: Details) -> str:
    """What `query_result` says of a result: the same for everybody who shares it."""
    match outcome:
        case Succeeded(value, lines):
            content = {"value": write(value, Format.ENCODED), "logLines": _shown(lines, details), "journal": journal}
            return f"QueryUpdated|{_encode(content).decode()[1:]}"
        case Failed(failure, lines):
            content = {
                "errorMessage": error_message(failure, request_id, details),
                "logLines": _shown(lines, details),
                "journal": journal,
                **error_data(failure, Format.ENCODED),
            }
            return f"QueryFailed|{_encode(content).decode()[1:]}"
        case _:
            assert_never(outcome)


def mutation_response(number: int, outcome: Outcome, request_id: RequestId, details: Details) -> str:
    """How a mutation ended."""
    position = write_position(outcome.position) if isinstance(outcome, Succeeded) else None
    return _response("MutationResponse", number, outcome, request_id, details, ts=position)


def action_response(number: int, outcome: Outcome, request_id: RequestId, details: Details) -> str:
    """How an action ended."""
    return _response("ActionResponse", number, outcome, request_id, details)


def auth_error(error: str, base_version: int, attempted: bool) -> str:
    """What was sent to say who calls proves nothing, or no longer does."""
    said = {"type": "AuthError", "error": error, "baseVersion": base_version, "authUpdateAttempted": attempted}
    return _encode(said).decode()


def fatal_error(error: str) -> str:
    """The client broke the protocol."""
    return _encode({"type": "FatalError", "error": error}).decode()


def _response(
    kind: str, number: int, outcome: Outcome, request_id: RequestId, details: Details, **more: str | None
) -> str:
    said: dict[str, Any] = {"type": kind, "requestId": number, "success": isinstance(outcome, Succeeded)}
    match outcome:
        case Succeeded(value, lines):
            said |= {"result": write(value, Format.ENCODED), "logLines": _shown(lines, details)}
        case Failed(failure, lines):
            said |= {
                "result": error_message(failure, request_id, details),
                "logLines": _shown(lines, details),
                **error_data(failure, Format.ENCODED),
            }
        case _:
            assert_never(outcome)
    return _encode(said | more).decode()


def _shown(lines: Sequence[str], details: Details) -> list[str]:
    return list(lines) if details is Details.SHOW else []
