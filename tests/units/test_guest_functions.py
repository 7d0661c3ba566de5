from collections.abc import Iterator
from typing import Any

import pytest

from runtime import limits
from runtime.protocol import values
from runtime.protocol.declaration import Kind
from runtime.protocol.messages import Line, Ping, Pong, Reason, Refuse, Returned, SetEnvironment, Stop, Syscall
from tests.units.guests import NOW, Host


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def load(host: Host, code: str) -> None:
    host.load({"m.py": f"import asyncio, random, time\nfrom runtime import *\n{code}"}, {"COLOUR": "blue"})


def test_a_query_gets_its_arguments_by_name_and_returns_a_value(host: Host) -> None:
    load(host, "@query\nasync def q(ctx, a: int, b: str = 'x'):\n    return [a, b, ctx.request_id, ctx.deployment]")
    host.call("m:q", a=5.0)
    assert host.returned() == [5, "x", "request-1", "happy-otter-123"]


def test_a_plain_function_is_called_too(host: Host) -> None:
    load(host, "@query\ndef q(ctx):\n    return 1")
    host.call("m:q")
    assert host.returned() == 1


@pytest.mark.parametrize(
    "args, words",
    [
        ({}, "m:q: args.a is missing: it must be a whole number"),
        ({"a": "1"}, "m:q: args.a must be a whole number, got str '1'"),
        ({"a": 1, "b": 2}, "m:q: args.b is not expected: the fields are a"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_the_function_runs(
    host: Host, args: dict[str, Any], words: str
) -> None:
    load(host, "@query\nasync def q(ctx, a: int):\n    print('ran')")
    host.call("m:q", **args)
    failure = host.failed()
    assert (failure.reason, failure.exception) == (Reason.ARGUMENTS, "ArgumentValidationError")
    assert failure.message == words


@pytest.mark.parametrize(
    "code, exception, words",
    [
        ("def q(ctx) -> int:\n    return 'a'", "ReturnsValidationError", "m:q: result must be a whole number"),
        ("def q(ctx):\n    return {'a': [object()]}", "TypeError", "m:q: result.a[0] is of type object"),
        ("def q(ctx):\n    return 'x' * 9_000_000", "LimitExceeded", f"limit {int(limits.VALUE_BYTES)} bytes"),
    ],
)
def test_results_that_do_not_fit_fail_the_call(host: Host, code: str, exception: str, words: str) -> None:
    load(host, f"@query\n{code}")
    host.call("m:q")
    failure = host.failed()
    assert (failure.reason, failure.exception) == (Reason.RETURNS, exception)
    assert words in failure.message


def test_a_query_that_was_not_finished_is_no_result(host: Host) -> None:
    load(host, "@query\ndef q(ctx):\n    return ctx.db.query('t')")
    host.call("m:q")
    assert "add .collect()" in host.failed().message


def test_a_function_that_is_not_there_or_of_another_kind_is_unknown(host: Host) -> None:
    load(host, "@query\ndef q(ctx):\n    return 1")
    host.call("m:other")
    assert host.failed().message == "there is no query 'm:other'"
    host.call("m:q", Kind.MUTATION)
    assert host.failed().message == "'m:q' is a query, not a mutation"


def test_clock_and_random_of_a_query_repeat(host: Host) -> None:
    load(host, "@query\ndef q(ctx):\n    return [time.time(), random.random()]")
    host.call("m:q", seed=b"1" * 16)
    first = host.returned()
    host.call("m:q", seed=b"1" * 16)
    assert host.returned() == first
    host.call("m:q", seed=b"2" * 16)
    other = host.returned()
    assert first[0] == other[0] == NOW / 1000
    assert first[1] != other[1]


@pytest.mark.parametrize("manners", [True, False])
def test_timers_are_refused_in_queries_and_mutations(manners: bool) -> None:
    host = Host(manners)
    load(host, "@mutation\nasync def m(ctx):\n    await asyncio.sleep(1)")
    host.call("m:m", Kind.MUTATION)
    failure = host.failed()
    assert failure.exception == "RuntimeError"
    host.close()


def test_gather_and_locks_work_in_a_query(host: Host) -> None:
    load(
        host,
        "@query\nasync def q(ctx):\n    lock = asyncio.Lock()\n    async def one(id):\n        async with lock:\n"
        "            return await ctx.db.get(id)\n    return await asyncio.gather(one('a'), one('b'))",
    )
    host.call("m:q")
    for id in ("a", "b"):
        asked, args = host.asked()
        assert (asked.name, args) == ("db.get", [id])
        host.answer(asked, {"_id": id})
    assert host.returned() == [{"_id": "a"}, {"_id": "b"}]


# --- asking the host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["api.m.q", "internal.m.q", "'m:q'", "q"])
def test_a_function_is_called_by_reference_path_or_itself(host: Host, ref: str) -> None:
    load(host, f"@query\ndef q(ctx, n): ...\n@action\nasync def a(ctx):\n    return await ctx.run_query({ref}, n=1)")
    host.call("m:a", Kind.ACTION)
    asked, args = host.asked()
    assert (asked.name, args) == ("run.query", ["m:q", {"n": 1}])
    host.answer(asked, "answer")
    assert host.returned() == "answer"


def test_a_refusal_is_raised_where_it_was_asked(host: Host) -> None:
    load(
        host,
        "@action\nasync def a(ctx):\n    try:\n        await ctx.run_mutation('m:m')\n"
        "    except ApplicationError as error:\n        return error.data",
    )
    cid = host.call("m:a", Kind.ACTION)
    host.expect(Syscall)
    host.say(Refuse(cid, 0, "ApplicationError", "", values.encode({"code": 7})))
    assert host.returned() == {"code": 7}


def test_an_application_error_carries_its_data(host: Host) -> None:
    load(host, "@query\ndef q(ctx):\n    raise ApplicationError({'code': 7})")
    host.call("m:q")
    failure = host.failed()
    assert failure.reason is Reason.APPLICATION
    assert failure.data is not None
    assert values.decode(failure.data) == {"code": 7}


def test_syscalls_past_those_allowed_at_once_wait_in_line(host: Host) -> None:
    count = limits.SYSCALLS_AT_ONCE + 10
    load(
        host,
        "@query\nasync def q(ctx):\n"
        f"    return len(await asyncio.gather(*[ctx.db.get(str(n)) for n in range({count})]))",
    )
    host.call("m:q")
    first = [host.expect(Syscall) for _ in range(limits.SYSCALLS_AT_ONCE)]
    host.say(Ping(1))
    assert host.next() == Pong(1)
    for asked in first:
        host.answer(asked, None)
    rest = [host.expect(Syscall) for _ in range(10)]
    assert [one.sid for one in first + rest] == list(range(count))
    for asked in rest:
        host.answer(asked, None)
    assert host.returned() == count


def test_an_argument_that_is_no_value_never_leaves(host: Host) -> None:
    load(host, "@mutation\nasync def m(ctx):\n    await ctx.db.insert('t', {'a': {1, 2}})")
    host.call("m:m", Kind.MUTATION)
    failure = host.failed()
    assert "document.a is of type set" in failure.message


def test_a_query_in_batches_is_filtered_here(host: Host) -> None:
    load(
        host,
        "@query\nasync def q(ctx):\n    return await (ctx.db.query('t').with_index('by_creation_time', lambda q: "
        "q.gt('_creationTime', 5)).order('desc').filter(lambda d: d['n'] > 1).take(2))",
    )
    host.call("m:q")
    asked, args = host.asked()
    assert (asked.name, args[:5]) == ("db.scan", ["t", "by_creation_time", [["gt", "_creationTime", 5]], "desc", None])
    host.answer(asked, {"documents": [{"n": 1}, {"n": 2}], "cursor": b"more"})
    asked, args = host.asked()
    assert args[4] == b"more"
    host.answer(asked, {"documents": [{"n": 3}, {"n": 4}], "cursor": None})
    assert host.returned() == [{"n": 2}, {"n": 3}]


def test_a_query_can_be_iterated(host: Host) -> None:
    load(
        host,
        "@query\nasync def q(ctx):\n    found = []\n    async for doc in ctx.db.query('t'):\n"
        "        found.append(doc)\n"
        "        if len(found) == 3:\n            break\n    return found",
    )
    host.call("m:q")
    host.answer(host.asked()[0], {"documents": [1, 2], "cursor": b"c"})
    host.answer(host.asked()[0], {"documents": [3, 4], "cursor": b"d"})
    assert host.returned() == [1, 2, 3]


def test_a_patch_says_which_fields_go(host: Host) -> None:
    load(host, "@mutation\nasync def m(ctx):\n    await ctx.db.patch('id', {'a': None, 'b': UNSET})")
    host.call("m:m", Kind.MUTATION)
    asked, args = host.asked()
    assert (asked.name, args) == ("db.patch", ["id", {"a": None}, ["b"]])
    host.answer(asked, None)
    assert host.returned() is None


@pytest.mark.parametrize(
    "kind, attribute, words",
    [
        (Kind.QUERY, "run_mutation", "a query only reads"),
        (Kind.MUTATION, "run_action", "call the action from an action"),
        (Kind.ACTION, "db", "ctx.run_query or ctx.run_mutation"),
        (Kind.QUERY, "storage.delete", "a query only reads"),
        (Kind.MUTATION, "storage.get", "use an action"),
    ],
)
def test_what_a_kind_does_not_have_says_why(host: Host, kind: Kind, attribute: str, words: str) -> None:
    load(host, f"@{kind}\ndef f(ctx):\n    return ctx.{attribute}")
    host.call("m:f", kind)
    failure = host.failed()
    assert failure.exception == "AttributeError"
    assert words in failure.message


# --- log, environment, ping -------------------------------------------------------------------------------------------


def test_lines_past_the_limit_are_counted(host: Host) -> None:
    load(host, f"@query\ndef q(ctx):\n    for n in range({limits.LOG_LINES + 5}):\n        print(n)")
    host.call("m:q")
    lines = host.lines()
    assert len(lines) == limits.LOG_LINES + 1
    assert lines[-1].startswith("warn: 5 more lines dropped")


@pytest.mark.parametrize("text", ["'x' * 100_000", "'\\u00e9' * 100_000", "'\\ud800' * 100_000"])
def test_a_long_line_is_cut(host: Host, text: str) -> None:
    load(host, f"@query\ndef q(ctx):\n    print({text})")
    host.call("m:q")
    line = host.expect(Line)
    assert len(line.text.encode()) <= limits.LOG_LINE_BYTES + 256
    assert "more" in line.text
    host.expect(Returned)


def test_the_environment_follows_the_host(host: Host) -> None:
    load(host, "@query\ndef q(ctx):\n    return dict(env)")
    host.call("m:q")
    assert host.returned() == {"COLOUR": "blue"}
    host.say(SetEnvironment({"COLOUR": "red"}))
    host.call("m:q")
    assert host.returned() == {"COLOUR": "red"}


def test_a_ping_is_answered(host: Host) -> None:
    host.say(Ping(42))
    assert host.next() == Pong(42)


def test_a_stopped_query_fails_with_time(host: Host) -> None:
    load(host, "@query\nasync def q(ctx):\n    await ctx.db.get('a')")
    cid = host.call("m:q")
    host.expect(Syscall)
    host.say(Stop(cid))
    failure = host.failed()
    assert failure.reason is Reason.TIME
    assert failure.frames[-1].text == "await ctx.db.get('a')"


# --- hostile exceptions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, reason, exception, words",
    [
        ("raise MemoryError", Reason.MEMORY, "MemoryError", "no memory is left, limit 256 MiB"),
        ("def f(): f()\n    f()", Reason.RAISED, "RecursionError", "recursion"),
        ("raise SystemExit(3)", Reason.RAISED, "SystemExit", "3"),
        ("raise KeyboardInterrupt", Reason.RAISED, "KeyboardInterrupt", ""),
        ("raise asyncio.CancelledError", Reason.RAISED, "CancelledError", "from within"),
        ("raise Bad", Reason.RAISED, "Bad", "<str() of it raised ZeroDivisionError>"),
        ("raise ValueError('\\ud800')", Reason.RAISED, "ValueError", "\\ud800"),
        ("raise ValueError('x' * 10_000_000)", Reason.RAISED, "ValueError", "more characters"),
        (
            "raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])",
            Reason.RAISED,
            "ExceptionGroup",
            "ValueError: a",
        ),
    ],
)
def test_whatever_is_raised_the_call_fails_and_the_next_one_works(
    code: str, reason: Reason, exception: str, words: str
) -> None:
    host = Host(manners=False)
    bad = "class Bad(Exception):\n    def __str__(self):\n        return 1 / 0\n"
    load(host, f"{bad}@query\nasync def q(ctx):\n    {code}\n@query\ndef fine(ctx):\n    return 1")
    host.call("m:q")
    failure = host.failed()
    assert (failure.reason, failure.exception) == (reason, exception)
    assert words in failure.message
    host.call("m:fine")
    assert host.returned() == 1
    host.close()


def test_a_deep_recursion_shows_both_ends(host: Host) -> None:
    load(host, "def f(n):\n    return f(n + 1)\n@query\ndef q(ctx):\n    return f(0)")
    host.call("m:q")
    frames = host.failed().frames
    assert frames[0].function == "q"
    assert frames[-1].function == "f"
    assert len(frames) <= 64
