"""Actions in all of Python: the real guest in a real process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.errors import PushRefused
from runtime.protocol import values
from runtime.protocol.declaration import Engine, Kind, Visibility
from runtime.protocol.messages import Level, Reason
from tests.units.node_style_house import NAME, House

HEAD = '"use node"\nfrom runtime import *\n'


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.close()


async def push(house: House, body: str, **others: str) -> None:
    files = {f"{name}.py": text for name, text in others.items()}
    await house.push(Engine.PYTHON, {"jobs.py": HEAD + body, **files})


async def test_what_a_module_declares_is_declared_as_python(house: House) -> None:
    declared = await house.push(
        Engine.PYTHON,
        {
            "deep/jobs.py": HEAD + "@internal_action\nasync def tidy(ctx, days: int = 1) -> str:\n    return 'ok'\n",
            "plain.py": "from runtime import query\n@query\nasync def read(ctx):\n    return 1\n",
        },
    )
    assert declared.node_style == ("deep/jobs.py",)
    (tidy,) = declared.functions
    assert (tidy.path, tidy.kind, tidy.visibility) == ("deep/jobs:tidy", Kind.ACTION, Visibility.INTERNAL)
    assert (tidy.engine, tidy.file, tidy.line) == (Engine.PYTHON, "deep/jobs.py", 3)
    assert tidy.args["value"]["days"] == {"fieldType": {"type": "number"}, "optional": True}


async def test_an_action_has_all_of_python_and_its_scratch_folder(house: House) -> None:
    await push(
        house,
        """
import os, subprocess, sys, tempfile, threading
@action
async def run(ctx) -> list[str]:
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("kept"); file.flush()
        read = open(file.name).read()
    out = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout
    return [read, out.strip(), str(threading.active_count() > 0)]
""",
    )
    assert await house.value("jobs:run") == ["kept", "42", "True"]


async def test_ctx_asks_the_same_counter_as_in_an_isolate(house: House) -> None:
    await push(
        house,
        """
@action
async def run(ctx):
    me = await ctx.auth.get_user_identity()
    return [await ctx.run_query(api.messages.latest, limit=3), me.subject, ctx.request_id, ctx.deployment]
""",
    )
    answer = {"path": "messages:latest", "args": {"limit": 3}}
    assert await house.value("jobs:run") == [answer, "ada", "r1", NAME]


async def test_a_plain_function_runs_in_a_thread_and_others_go_on(house: House) -> None:
    await push(
        house,
        """
import asyncio, threading
let_go = threading.Event()
@action
def wait(ctx):
    print("waiting")
    assert let_go.wait(20)
    return asyncio.run(ctx.run_query("messages:latest"))["path"]
@action
async def free(ctx):
    let_go.set()
""",
    )
    waiting = asyncio.ensure_future(house.run("jobs:wait"))
    await house.said.wait()
    await house.value("jobs:free")
    assert values.decode((await waiting).value) == "messages:latest"  # type: ignore[union-attr]  # it returned
    assert house.lines == [(Level.INFO, "waiting")]


async def test_modules_without_the_directive_are_imported_relatively(house: House) -> None:
    await push(
        house,
        """
from .sums import double, total
from . import sums
@action
async def run(ctx, number: int) -> int:
    assert sums.__file__.endswith("sums.py")
    await ctx.run_query(total)
    return double(number)
""",
        sums="""
from runtime import query
@query
async def total(ctx):
    return 1
def double(number):
    return 2 * number
""",
    )
    assert await house.value("jobs:run", number=21) == 42
    assert house.asked == [("run.query", ["sums:total", {}])]


async def test_packages_are_found_and_nothing_of_ours_is(house: House, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "shouting").mkdir(parents=True)
    (packages / "shouting" / "__init__.py").write_text("def shout(text):\n    return text.upper()\n")
    house.packages = packages
    await push(
        house,
        """
from shouting import shout
@action
async def run(ctx):
    try:
        import fastapi
    except ModuleNotFoundError as error:
        return [shout("hi"), error.name]
""",
    )
    assert await house.value("jobs:run") == ["HI", "fastapi"]
    assert house.open_folders == 1
    await house.crews.stop()
    assert house.open_folders == 0


async def test_everything_that_is_written_is_in_the_log_of_its_call(house: House) -> None:
    await push(
        house,
        """
import asyncio, logging, os, sys
print("imported")
log = logging.getLogger(__name__)
@action
async def run(ctx):
    print("printed", 1)
    log.debug("detail")
    logging.getLogger("a_package").debug("noise")
    logging.getLogger("a_package").warning("careful")
    sys.stdout.write("half ")
    sys.stdout.write("a line\\n")
    sys.stderr.write("two\\nlines\\n")
    await asyncio.to_thread(print, "from a thread")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
""",
    )
    await house.value("jobs:run")
    assert house.lines[:-1] == [
        (Level.INFO, "printed 1"),
        (Level.DEBUG, "detail"),
        (Level.WARN, "careful"),
        (Level.INFO, "half a line"),
        (Level.WARN, "two\nlines"),
        (Level.INFO, "from a thread"),
    ]
    level, text = house.lines[-1]
    assert level is Level.ERROR and text.startswith("failed\n  jobs.py:18 in run\nZeroDivisionError")
    assert "imported" in house.own_lines


async def test_lines_past_the_limit_are_counted_and_the_call_goes_on(house: House) -> None:
    await push(
        house, "@action\nasync def run(ctx):\n    for number in range(1000):\n        print(number)\n    return 1\n"
    )
    assert await house.value("jobs:run") == 1
    assert house.lines[-1] == (Level.WARN, "744 more lines dropped, limit 256 lines of one call")


async def test_variables_are_in_env_and_in_the_environment_of_the_process(house: House) -> None:
    house.environment = {"KEY": "one"}
    await push(
        house,
        "import os\nat_import = os.environ['KEY']\n@action\nasync def run(ctx):\n"
        "    return [at_import, env['KEY'], os.environ.get('KEY'), os.environ.get('GONE')]\n",
    )
    assert await house.value("jobs:run") == ["one", "one", "one", None]
    house.environment = {"KEY": "two", "GONE": "no"}
    assert await house.value("jobs:run") == ["two", "two", "two", "no"]
    house.environment = {"KEY": "three"}
    assert await house.value("jobs:run") == ["three", "three", "three", None]


async def test_a_failure_shows_the_lines_of_the_bundle_alone(house: House) -> None:
    await push(house, "import json\n@action\nasync def run(ctx):\n    return json.loads('{')\n")
    failure = await house.failure("jobs:run")
    assert (failure.reason, failure.exception) == (Reason.RAISED, "JSONDecodeError")
    assert [(frame.file, frame.line, frame.text) for frame in failure.frames] == [
        ("jobs.py", 6, "return json.loads('{')")
    ]


async def test_data_of_an_application_error_comes_through(house: House) -> None:
    await push(house, "@action\nasync def run(ctx):\n    await ctx.run_mutation('messages:refuse')\n")
    failure = await house.failure("jobs:run")
    assert failure.reason is Reason.APPLICATION and failure.data is not None
    assert values.decode(failure.data) == {"code": 7, "big": values.Int64(1)}


async def test_arguments_and_results_are_checked(house: House) -> None:
    await push(house, "@action\nasync def run(ctx, number: int) -> str:\n    return number\n")
    wrong = await house.failure("jobs:run", number="x")
    assert (wrong.reason, wrong.exception) == (Reason.ARGUMENTS, "ArgumentValidationError")
    assert "args.number must be a whole number" in wrong.message
    assert (await house.failure("jobs:run", number=1)).reason is Reason.RETURNS


@pytest.mark.parametrize(
    "leave",
    [
        "sys.exit(4)",
        "await asyncio.to_thread(sys.exit, 4)",
        "await asyncio.gather(later())",
    ],
)
async def test_sys_exit_fails_the_call_and_nothing_else(house: House, leave: str) -> None:
    body = f"""
import asyncio, os, sys
async def later():
    await asyncio.sleep(0)
    sys.exit(4)
@action
async def leaves(ctx):
    {leave}
@action
async def stays(ctx):
    return os.getpid()
"""
    await push(house, body)
    before = await house.value("jobs:stays")
    failure = await house.failure("jobs:leaves")
    assert (failure.exception, failure.message) == ("SystemExit", "4")
    assert await house.value("jobs:stays") == before


async def test_a_fork_that_comes_back_says_nothing_to_the_host(house: House) -> None:
    await push(
        house,
        """
import multiprocessing, os
@action
async def run(ctx) -> int:
    child = os.fork()
    if child == 0:
        return 13
    os.waitpid(child, 0)
    queue = multiprocessing.get_context("fork").Queue()
    worker = multiprocessing.get_context("fork").Process(target=queue.put, args=(7,))
    worker.start()
    found = queue.get(timeout=20)
    worker.join()
    return found
""",
    )
    assert await house.value("jobs:run") == 7


async def test_what_a_call_leaves_running_runs_on_and_can_ask_nothing(house: House) -> None:
    await push(
        house,
        """
import asyncio
go = asyncio.Event()
done = asyncio.Event()
found = []
async def later(ctx):
    await go.wait()
    try:
        await ctx.run_query("messages:latest")
    except RuntimeError as error:
        found.append(str(error))
    done.set()
kept = []
@action
async def begin(ctx):
    kept.append(asyncio.create_task(later(ctx)))
@action
async def end(ctx):
    go.set()
    await done.wait()
    return found
""",
    )
    await house.value("jobs:begin")
    assert await house.value("jobs:end") == ["run.query: the call that this work belongs to has ended"]
    assert house.asked == []


@pytest.mark.parametrize(
    ("files", "file", "words"),
    [
        ({"jobs.py": HEAD + "import nowhere_to_be_found\n"}, "jobs.py", "No module named 'nowhere_to_be_found'"),
        ({"jobs.py": HEAD + "@query\nasync def q(ctx):\n    pass\n"}, "jobs.py", "jobs:q is not an action"),
        ({"jobs.py": HEAD + "def f(:\n"}, "jobs.py", "SyntaxError"),
        ({"jobs.py": HEAD + "import sys\nsys.exit(1)\n"}, "jobs.py", "SystemExit: 1"),
        ({"http.py": HEAD}, "http.py", "only actions can"),
        ({"jobs.py": HEAD + "from .other import x\n", "other.py": "raise ValueError('no')\n"}, "other.py", "no"),
    ],
)
async def test_what_cannot_be_deployed_is_refused_with_file_and_sentence(
    house: House, files: dict[str, str], file: str, words: str
) -> None:
    with pytest.raises(PushRefused) as refused:
        await house.push(Engine.PYTHON, files)
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.file == file
    assert words in diagnostic.message
    assert "/" not in diagnostic.message
