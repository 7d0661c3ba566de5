"""Actions in Node.js: the real guest in a real process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import PushRefused
from runtime.protocol import values
from runtime.protocol.declaration import Engine, Kind, Visibility
from runtime.protocol.messages import Level, Reason
from runtime.protocol.values import Int64
from tests.units.node_style_house import NAME, House

HEAD = """"use node";
import { action, api, ApplicationError, ConvexError, env, internal, internalAction, v } from "warren";
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.close()


async def push(house: House, body: str) -> None:
    await house.push(Engine.NODE, {"jobs.mjs": HEAD + body})


async def test_what_a_module_declares_is_declared_as_node(house: House) -> None:
    body = """
export const tidy = internalAction({
  args: { days: v.optional(v.number()), to: v.union(v.id("users"), v.null()), big: v.literal(5n) },
  returns: v.array(v.string()),
  handler: async () => [],
});
export default action(async () => 1);
export const _hidden = action(async () => 1);
export const helper = 1;
"""
    declared = await house.push(Engine.NODE, {"deep/jobs.js": HEAD + body, "plain.js": "export const x = 1;"})
    assert declared.node_style == ("deep/jobs.js",)
    functions = {function.path: function for function in declared.functions}
    assert set(functions) == {"deep/jobs:tidy", "deep/jobs:default"}
    tidy = functions["deep/jobs:tidy"]
    assert (tidy.kind, tidy.visibility, tidy.engine) == (Kind.ACTION, Visibility.INTERNAL, Engine.NODE)
    assert (tidy.file, tidy.line) == ("deep/jobs.js", 4)
    fields = tidy.args["value"]
    assert fields["days"] == {"fieldType": {"type": "number"}, "optional": True}
    members = [{"type": "id", "tableName": "users"}, {"type": "null"}]
    assert fields["to"] == {"fieldType": {"type": "union", "value": members}, "optional": False}
    assert fields["big"]["fieldType"] == {"type": "literal", "value": {"$integer": "BQAAAAAAAAA="}}
    assert tidy.returns == {"type": "array", "value": {"type": "string"}}
    assert functions["deep/jobs:default"].args is None


async def test_ctx_asks_the_same_counter_as_in_an_isolate(house: House) -> None:
    await push(
        house,
        """
export const other = internalAction(async () => 1);
export const run = action(async (ctx) => {
  const me = await ctx.auth.getUserIdentity();
  const latest = await ctx.runQuery(api.messages.latest, { limit: 3 });
  await ctx.runQuery("messages:latest");
  await ctx.runQuery(other);
  await ctx.runQuery(internal.admin.users.all, {});
  return [latest, me.subject, ctx.requestId, ctx.deployment];
});
""",
    )
    latest = {"path": "messages:latest", "args": {"limit": 3}}
    assert await house.value("jobs:run") == [latest, "ada", "r1", NAME]
    assert [asked[0] for _, asked in house.asked if asked] == [
        *("messages:latest", "messages:latest", "jobs:other", "admin/users:all")
    ]


async def test_the_scheduler_counts_in_milliseconds(house: House) -> None:
    await push(
        house,
        """
export const run = action(async (ctx) => {
  const asked = [
    () => ctx.scheduler.runAfter(1500, api.jobs.run, { a: 1 }),
    () => ctx.scheduler.runAt(new Date(5000), "jobs:run"),
    () => ctx.scheduler.runAfter(0, api.jobs.run, {}, { retry: { maxAttempts: 3 } }),
    () => ctx.scheduler.cancel("an id"),
    () => ctx.scheduler.runAfter(-1, api.jobs.run),
    () => ctx.scheduler.runAfter("soon", api.jobs.run),
  ];
  const errors = [];
  for (const ask of asked) await ask().catch((error) => errors.push(`${error.name}: ${error.message}`));
  return errors;
});
""",
    )
    errors = await house.value("jobs:run")
    assert errors[4:] == [
        "RangeError: the delay of runAfter is 0 or more milliseconds, not -1",
        "TypeError: the delay of runAfter is a number of milliseconds, not 'soon'",
    ]
    assert house.asked == [
        ("scheduler.schedule", ["jobs:run", {"a": 1}, "after", 1500, None]),
        ("scheduler.schedule", ["jobs:run", {}, "at", 5000, None]),
        ("scheduler.schedule", ["jobs:run", {}, "after", 0, [3, 1000, 3600000, 0.5]]),
        ("scheduler.cancel", ["an id"]),
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("undefined", None),
        ("({ a: undefined, b: null })", {"b": None}),
        ("Buffer.from('ab')", b"ab"),
        ("new Uint8Array([1, 2]).subarray(1)", b"\x02"),
        ("new ArrayBuffer(2)", b"\0\0"),
        ("5n", Int64(5)),
        ("2 ** 53", 2**53),
        ("1.5", 1.5),
    ],
)
async def test_what_javascript_returns_is_a_value(house: House, expression: str, expected: Any) -> None:
    await push(house, f"export const run = action(async () => {expression});\n")
    found = await house.value("jobs:run")
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("({ at: [new Date(0)] })", "result.at[0] is of type Date: a value is null, boolean, number"),
        ("[undefined]", "result[0] is of type undefined"),
        ("() => 1", "result is of type function"),
        ("new Map()", "result is of type Map"),
        ("({ $a: 1 })", "result has the key '$a'"),
        ("2n ** 64n", "result is 18446744073709551616n: an Int64 has 64 bits"),
        (r"'\ud800'", "result holds a lone surrogate"),
        ("{ let deep = 1; for (let i = 0; i < 70; i++) deep = [deep]; return deep; }", "nested deeper than 64 levels"),
        ("{ const self = {}; self.self = self; return self; }", "nested deeper than 64 levels"),
        ("new Array(300000).fill(0)", "more than 262144 items (limit VALUE_ITEMS)"),
        ("'x'.repeat(9 * 1024 * 1024)", "9437189 bytes, limit 8388608 bytes"),
    ],
)
async def test_what_is_no_value_is_refused_with_its_path(house: House, expression: str, words: str) -> None:
    body = expression if expression.startswith("{") else f"{{ return {expression}; }}"
    await push(house, f"export const run = action(async () => {body});\n")
    failure = await house.failure("jobs:run")
    assert failure.reason is Reason.RETURNS
    assert words in failure.message


@pytest.mark.parametrize(
    ("validator", "value", "words"),
    [
        ("v.string()", 1, "args.x must be a string, got number 1"),
        ("v.number()", Int64(1), "args.x must be a number, got bigint 1n"),
        ("v.int64()", 1, "args.x must be a bigint, got number 1"),
        ("v.bytes()", "a", "args.x must be bytes (an ArrayBuffer), got string 'a'"),
        ("v.array(v.boolean())", [True, 0], "args.x[1] must be a boolean, got number 0"),
        ("v.object({ a: v.null() })", {}, "args.x.a is missing: it must be null"),
        ("v.object({ a: v.null() })", {"a": None, "b": 1}, "args.x.b is not expected: the fields are a"),
        ("v.record(v.string(), v.number())", {"a": "b"}, "args.x.a must be a number"),
        ("v.union(v.literal('a'), v.literal('b'))", "c", "args.x must be 'a' or 'b', got string 'c'"),
        ("v.nullable(v.string())", 1, "args.x must be a string or null"),
        ("v.id('users')", 1, "args.x must be an id of table 'users'"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_the_handler(
    house: House, validator: str, value: Any, words: str
) -> None:
    await push(house, f"export const run = action({{ args: {{ x: {validator} }}, handler: async () => 1 }});\n")
    failure = await house.failure("jobs:run", x=value)
    assert (failure.reason, failure.exception) == (Reason.ARGUMENTS, "ArgumentValidationError")
    assert failure.message.startswith("jobs:run: ") and words in failure.message


async def test_packages_and_neighbours_are_imported(house: House, tmp_path: Path) -> None:
    packages = tmp_path / "node-0123"
    for name, text in (
        ("shouting", "module.exports = require('upper');"),
        ("upper", "module.exports = (t) => t.toUpperCase();"),
    ):
        (packages / name).mkdir(parents=True)
        (packages / name / "package.json").write_text(f'{{"name": "{name}", "main": "index.js"}}')
        (packages / name / "index.js").write_text(text)
    house.packages = packages
    await house.push(
        Engine.NODE,
        {
            "jobs.js": HEAD
            + "import shout from 'shouting';\nimport { two } from './lib/two.js';\n"
            + "import { readFileSync } from 'node:fs';\n"
            + "const text = readFileSync(new URL('note.txt', import.meta.url), 'utf8');\n"
            + "export const run = action(async () => [shout('hi'), two, text]);\n",
            "lib/two.js": "export const two = 2;\n",
            "note.txt": "a note",
            "package.json": '{"dependencies": {"shouting": "1.0.0"}}',
        },
    )
    assert await house.value("jobs:run") == ["HI", 2, "a note"]


async def test_everything_that_is_written_is_in_the_log_of_its_call(house: House) -> None:
    await push(
        house,
        """
console.log("imported");
export const run = action(async () => {
  console.log("one", { a: 1 });
  console.debug("two");
  console.warn("three\\nlines");
  setTimeout(() => console.error("%s!", "four"), 1);
  await new Promise((done) => setTimeout(done, 20));
  process.stdout.write("five\\n");
  process.stderr.write("six\\n");
  console.table([{ a: 1 }]);
});
""",
    )
    await house.value("jobs:run")
    assert house.lines[:-1] == [
        (Level.INFO, "one { a: 1 }"),
        (Level.DEBUG, "two"),
        (Level.WARN, "three\nlines"),
        (Level.ERROR, "four!"),
        (Level.INFO, "five"),
        (Level.WARN, "six"),
    ]
    assert house.lines[-1][0] is Level.INFO and "(index)" in house.lines[-1][1]
    assert "imported" in house.own_lines


async def test_lines_past_the_limit_are_counted_and_the_call_goes_on(house: House) -> None:
    await push(house, "export const run = action(async () => { for (let i = 0; i < 1000; i++) console.log(i); });\n")
    assert await house.value("jobs:run") is None
    assert house.lines[-1] == (Level.WARN, "744 more lines dropped, limit 256 lines of one call")


async def test_more_syscalls_than_may_wait_stand_in_line(house: House) -> None:
    await push(
        house,
        """
export const run = action(async (ctx) => {
  const all = Array.from({ length: 500 }, (_, n) => ctx.runQuery("messages:latest", { n }));
  return (await Promise.all(all)).map((one) => one.args.n);
});
""",
    )
    assert await house.value("jobs:run") == list(range(500))


async def test_variables_are_in_env_and_in_process_env(house: House) -> None:
    house.environment = {"KEY": "one"}
    await push(
        house,
        "const atImport = process.env.KEY;\nexport const run = action(async () => "
        "[atImport, env.KEY, process.env.KEY, { ...env }, 'GONE' in env, env.GONE ?? null]);\n",
    )
    assert await house.value("jobs:run") == ["one", "one", "one", {"KEY": "one"}, False, None]
    house.environment = {"KEY": "two"}
    assert (await house.value("jobs:run"))[:3] == ["two", "two", "two"]


async def test_a_failure_shows_the_lines_of_the_bundle_alone(house: House) -> None:
    await push(house, "const parse = (text) => JSON.parse(text);\nexport const run = action(async () => parse('{'));\n")
    failure = await house.failure("jobs:run")
    assert (failure.reason, failure.exception) == (Reason.RAISED, "SyntaxError")
    assert [(frame.file, frame.line) for frame in failure.frames] == [("jobs.mjs", 4), ("jobs.mjs", 3)]
    assert failure.frames[-1].text == "const parse = (text) => JSON.parse(text);"


@pytest.mark.parametrize(
    ("thrown", "data"),
    [
        ("new ApplicationError({ code: 7, big: 1n })", {"code": 7, "big": Int64(1)}),
        ("new ConvexError('no')", "no"),
    ],
)
async def test_data_of_an_application_error_comes_through(house: House, thrown: str, data: Any) -> None:
    await push(house, f"export const run = action(async () => {{ throw {thrown}; }});\n")
    failure = await house.failure("jobs:run")
    assert failure.reason is Reason.APPLICATION and failure.data is not None
    assert values.decode(failure.data) == data


async def test_an_error_of_the_counter_is_caught_where_it_was_asked(house: House) -> None:
    await push(
        house,
        """
export const run = action(async (ctx) => {
  try {
    await ctx.runMutation("messages:refuse");
  } catch (error) {
    return [error instanceof ConvexError, error.data.code, error.stack.includes("jobs.mjs:6")];
  }
});
export const lets = action(async (ctx) => {
  await ctx.runMutation("messages:refuse");
});
""",
    )
    assert await house.value("jobs:run") == [True, 7, True]
    failure = await house.failure("jobs:lets")
    assert failure.reason is Reason.APPLICATION
    assert [(frame.file, frame.line) for frame in failure.frames] == [("jobs.mjs", 12)]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("process.exit(3);", "process.exit(3) was called"),
        ("Promise.reject(new Error('lost'));", "nobody handled a rejection: lost"),
        ("setTimeout(() => { throw new Error('late'); }, 1);", "uncaught exception: late"),
        ("process.abort();", "process.exit(134) was called"),
    ],
)
async def test_what_breaks_the_process_fails_its_call_and_the_process_is_replaced(
    house: House, code: str, words: str
) -> None:
    await push(
        house,
        f"""
let go;
const gone = new Promise((done) => {{ go = done; }});
export const waits = action(async () => {{ console.log("here"); await gone; return process.pid; }});
export const lets = action(async () => {{ go(); return process.pid; }});
export const breaks = action(async () => {{ go(); {code} await new Promise(() => {{}}); }});
""",
    )
    innocent = house.run("jobs:waits")
    before = await house.value("jobs:lets")
    failure = await house.failure("jobs:breaks")
    assert failure.reason is Reason.CRASHED
    assert words in failure.message
    assert await house.value("jobs:lets") != before
    await innocent


async def test_a_rejection_of_work_that_outlived_its_call_is_logged_and_no_more(house: House) -> None:
    await push(
        house,
        """
let reject;
export const begin = action(async () => { new Promise((_, no) => { reject = no; }); return process.pid; });
export const end = action(async () => { reject(new Error("late")); await null; return process.pid; });
""",
    )
    before = await house.value("jobs:begin")
    assert await house.value("jobs:end") == before


@pytest.mark.parametrize(
    ("files", "file", "line", "words"),
    [
        ({"jobs.mjs": HEAD + "import 'nowhere';\n"}, "jobs.mjs", None, "Cannot find package 'nowhere'"),
        ({"jobs.mjs": HEAD + "const = 1;\n"}, "jobs.mjs", 3, "SyntaxError"),
        ({"jobs.mjs": HEAD + "throw new Error('no');\n"}, "jobs.mjs", 3, "Error: no"),
        ({"jobs.mjs": HEAD + "action({});\n"}, "jobs.mjs", 3, "action takes a function, or {args, returns, handler}"),
        (
            {"jobs.mjs": HEAD + "import { query } from 'warren';\nexport const q = query({});\n"},
            *("jobs.mjs", 4, "query cannot be used in JavaScript"),
        ),
        (
            {"jobs.mjs": HEAD + "action({ args: { a: 1 }, handler() {} });\n"},
            "jobs.mjs",
            3,
            "field 'a' needs a validator",
        ),
        ({"bad-name.mjs": HEAD}, "bad-name.mjs", 1, "letters, digits and underscores"),
    ],
)
async def test_what_cannot_be_deployed_is_refused_with_file_and_sentence(
    house: House, files: dict[str, str], file: str, line: int | None, words: str
) -> None:
    with pytest.raises(PushRefused) as refused:
        await house.push(Engine.NODE, files)
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.file == file
    assert line is None or diagnostic.line == line
    assert words in diagnostic.message
    assert "/bundle" not in diagnostic.message
