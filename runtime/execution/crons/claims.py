"""Are these crons that could have been meant?

What a bundle declares is a stranger's claim, also where the SDK has looked at it: everything is looked at again here,
and what only the host knows for the first time (cron lines, time zones, which functions there are).

Rules
1. Nothing here trusts that the SDK was used.
2. An objection names the cron, what is wrong with it, and what to write instead.
"""

from collections.abc import Iterable, Iterator, Mapping

from runtime import limits
from runtime.execution.crons import calendars
from runtime.protocol import values
from runtime.protocol.declaration import CronDeclaration, Diagnostic, FunctionDeclaration, Kind


def objections(crons: Iterable[CronDeclaration], functions: Iterable[FunctionDeclaration]) -> Iterator[Diagnostic]:
    """Every reason why these crons cannot be, given the functions that are declared beside them."""
    by_path = {function.path: function for function in functions}
    names: set[str] = set()
    size = 0
    for cron in crons:
        size += len(cron.args)
        if size > limits.CRONS_BYTES:
            limit = int(limits.CRONS_BYTES)
            text = f"up to here the arguments of crons have {size} bytes, limit CRONS_BYTES is {limit}"
            yield Diagnostic(cron.file, cron.line, f"{text}: keep them in documents and pass their ids")
            return
        for reason in _reasons(cron, names, by_path):
            yield Diagnostic(cron.file, cron.line, reason)
        names.add(cron.name)


def _reasons(cron: CronDeclaration, earlier: set[str], functions: Mapping[str, FunctionDeclaration]) -> Iterator[str]:
    most = int(limits.CRON_NAME_CHARACTERS)
    if not (0 < len(cron.name) <= most and cron.name.isascii() and cron.name.isprintable()):
        yield f"the name of a cron is 1 to {most} printable ASCII characters (limit CRON_NAME_CHARACTERS)"
        return
    if cron.name in earlier:
        yield f"there is a cron {cron.name!r} already: each has its own name"
    try:
        calendars.check(cron.schedule)
    except calendars.UnknownSchedule as error:
        yield f"cron {cron.name!r}: {error}"
    yield from _target(cron, functions.get(cron.function))
    yield from _arguments(cron)


def _target(cron: CronDeclaration, function: FunctionDeclaration | None) -> Iterator[str]:
    if function is None:
        path = ascii(cron.function[:120])
        yield f"cron {cron.name!r} runs {path}, and there is no such function: name one of this bundle's"
    elif function.kind not in (Kind.MUTATION, Kind.ACTION):
        kind = "an HTTP action" if function.kind is Kind.HTTP_ACTION else f"a {function.kind.value}"
        yield f"cron {cron.name!r} runs {function.path}, which is {kind}: a cron runs a mutation or an action"


def _arguments(cron: CronDeclaration) -> Iterator[str]:
    limit = int(limits.CRON_ARGUMENT_BYTES)
    if len(cron.args) >= limit:
        yield (
            f"the arguments of cron {cron.name!r} have {len(cron.args)} bytes, limit CRON_ARGUMENT_BYTES is {limit}: "
            "keep them in a document and pass its id"
        )
        return
    try:
        found = values.decode(cron.args)
    except values.InvalidValue as error:
        yield f"the arguments of cron {cron.name!r} are no values: {error}"
        return
    if type(found) is not dict:
        yield f"the arguments of cron {cron.name!r} are no dict"
