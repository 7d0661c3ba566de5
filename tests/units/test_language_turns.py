"""Clock, chance, timers and log: do they belong to the call that is running?"""

import datetime as real_datetime
import logging
import random

import pytest

from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Level
from runtime.sandbox.proxies import log_lines
from tests.escapes.tenant_code import FROZEN, execute, result, running

CLOCKS = """
import time
from datetime import UTC, date, datetime
from email.utils import format_datetime
result = [
    time.time(), time.time_ns(), time.monotonic(), datetime.now(UTC).timestamp(), datetime.utcnow().isoformat(),
    datetime.today().year, date.today().isoformat(), time.gmtime().tm_year, time.strftime("%Y"),
    isinstance(datetime.now(), datetime), type(date.today()) is date,
]
"""


@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.MUTATION, None])
def test_the_clock_stands_still_where_a_run_must_repeat(kind: Kind | None) -> None:
    with running(kind, seed=1):
        values = result(CLOCKS)
    assert values[:2] == [FROZEN / 1000, round(FROZEN * 1e6)]
    assert values[3:] == [FROZEN / 1000, "2023-11-14T22:13:20.123000", 2023, "2023-11-14", 2023, "2023", True, True]
    assert values[2] == values[0]


def test_the_clock_is_real_in_an_action() -> None:
    before = real_datetime.datetime.now().timestamp()
    with running(Kind.ACTION):
        values = result(CLOCKS)
    assert values[0] >= before


CHANCE = """
import random, secrets, uuid
from statistics import NormalDist
items = list(range(9))
random.shuffle(items)
result = [
    random.random(), random.randint(1, 10**9), random.gauss(), random.choice("abcdef"), items,
    random.sample(range(99), 3), random.Random().random(), random.SystemRandom().random(), secrets.token_hex(),
    secrets.token_urlsafe(8), secrets.randbelow(10**9), secrets.choice(range(10**6)), str(uuid.uuid4()),
    random.randbytes(4), random.uniform(1, 2), random.choices("ab", k=5), NormalDist().samples(2),
]
"""


def test_chance_repeats_with_the_seed_of_the_call_and_only_with_it() -> None:
    drawn = []
    for seed in (1, 1, 2):
        with running(Kind.MUTATION, seed=seed):
            drawn.append(result(CHANCE))
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0][:3], drawn[2][:3], strict=True))
    assert [len(drawn[0][8]), drawn[0][12][14]] == [64, "4"]


def test_chance_is_the_kernels_in_an_action() -> None:
    with running(Kind.ACTION):
        assert result(CHANCE) != result(CHANCE)


def test_a_generator_with_a_seed_of_its_own_is_the_standard_one() -> None:
    with running(Kind.QUERY, seed=1):
        assert result("import random\nresult = random.Random(7).random()") == random.Random(7).random()
    with running(Kind.MUTATION, seed=1):
        source = "import random\nrandom.seed(3); a = random.random(); random.seed(3); result = a == random.random()"
        assert result(source) is True


TIMERS = {
    "asyncio.sleep": "await asyncio.sleep(1)",
    "asyncio.timeout": "async with asyncio.timeout(1): pass",
    "asyncio.wait_for": "await asyncio.wait_for(nothing(), 1)",
    "asyncio.wait": "await asyncio.wait([asyncio.ensure_future(nothing())], timeout=1)",
    "asyncio.as_completed": "asyncio.as_completed([nothing()], timeout=1)",
}


@pytest.mark.parametrize(("name", "statement"), TIMERS.items(), ids=TIMERS.keys())
def test_a_mutation_has_no_timers_and_says_so(name: str, statement: str) -> None:
    refusal = f"{name}.*a mutation has no timers; use an action"
    source = f"import asyncio\nasync def nothing(): pass\nasync def main():\n    {statement}\n"
    with (
        running(Kind.MUTATION, seed=1),
        pytest.raises(RuntimeError, match=refusal),
    ):
        result(source)


def test_what_needs_no_timer_works_in_a_query() -> None:
    source = """
import asyncio
async def one():
    await asyncio.sleep(0)
    return 1
async def main():
    async with asyncio.Lock(), asyncio.timeout(None):
        return await asyncio.gather(one(), asyncio.wait_for(one(), None))
"""
    with running(Kind.QUERY, seed=1):
        assert result(source) == [1, 1]


def test_print_writes_one_line_of_the_log_with_its_newlines() -> None:
    with running(Kind.ACTION) as lines:
        execute("print('a', 1, sep='-')\nprint('x\\ny', end='')\nprint()\nimport pprint\npprint.pprint({'a': 1})")
    assert lines == [(Level.INFO, "a-1"), (Level.INFO, "x\ny"), (Level.INFO, ""), (Level.INFO, "{'a': 1}")]


def test_logging_writes_lines_with_levels_and_the_bundles_own_frames() -> None:
    source = """
import logging
logging.basicConfig(level=logging.INFO)
log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())
log.debug("d %s", 1); log.info("i"); logging.warning("w"); log.error("e"); log.critical("c")
log.info("%d", "no number")
logging.LoggerAdapter(log, {}).info("adapted")
def fail():
    raise ValueError("wrong")
try:
    fail()
except ValueError:
    log.exception("failed")
"""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [log_lines.LogLines()]
    root.setLevel(logging.DEBUG)
    try:
        with running(Kind.ACTION) as lines:
            execute(source)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert lines[:5] == [
        (Level.DEBUG, "d 1"),
        (Level.INFO, "i"),
        (Level.WARN, "w"),
        (Level.ERROR, "e"),
        (Level.ERROR, "c"),
    ]
    assert "do not fit" in lines[5][1]
    assert lines[6:] == [
        (Level.INFO, "adapted"),
        (Level.ERROR, "failed\n  module.py:12 in <module>\n  module.py:10 in fail\nValueError: wrong"),
    ]
