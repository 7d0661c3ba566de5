"""What stands in for the standard library's own, where that would tell the time, make a timer or open a door?

One table: module, name, what a tenant gets instead. `importer` hands it out; a name that is not in it is the real one.
"""

import pprint
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from runtime.sandbox.proxies import chance, clock, log_lines, reflection, timers


def _pretty_print(value: object, stream: Any = None, **options: Any) -> None:
    log_lines.say(pprint.pformat(value, **options), file=stream)


def _pretty_print_unsorted(value: object, stream: Any = None, **options: Any) -> None:
    _pretty_print(value, stream, **{"sort_dicts": False, **options})


STAND_INS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "asyncio": timers.ASYNCIO,
        "dataclasses": reflection.DATACLASSES,
        "datetime": clock.DATETIME,
        "functools": reflection.FUNCTOOLS,
        "logging": log_lines.LOGGING,
        "pprint": {"pprint": _pretty_print, "pp": _pretty_print_unsorted},
        "random": chance.RANDOM,
        "secrets": chance.SECRETS,
        "time": clock.TIME,
        "types": reflection.TYPES,
        "typing": reflection.TYPING,
        "uuid": chance.UUID,
    }
)
BUILTINS: Mapping[str, object] = MappingProxyType({**reflection.BUILTINS, "print": log_lines.say})
