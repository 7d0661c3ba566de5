"""Does ordinary Python work behind the gate? As important as what does not.

The programs are modules of `tests/bundles/language`: each is tenant code in which every assertion holds.
"""

import asyncio
import importlib
import subprocess
import sys

import pytest

from runtime.sandbox import importer, policy
from tests.conftest import BUNDLES
from tests.escapes.tenant_code import complaints, execute

PROGRAMS = {path.stem: path.read_text() for path in sorted((BUNDLES / "language").glob("*.py"))}


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_ordinary_python_works(source: str) -> None:
    assert complaints(source) == []
    names = execute(source)
    if "main" in names:
        asyncio.run(names["main"]())


# --- the page and the standard library --------------------------------------------------------------------------------

# What a later Python brings, or has taken away.
NOT_EVERYWHERE = {
    *(
        "asyncio.QueueShutDown",
        "base64.z85decode",
        "base64.z85encode",
        "collections.abc.Buffer",
        "collections.abc.ByteString",
    ),
    *(
        "csv.QUOTE_NOTNULL",
        "csv.QUOTE_STRINGS",
        "itertools.batched",
        "math.fma",
        "math.sumprod",
        "random.binomialvariate",
    ),
    *("re.PatternError", "statistics.kde", "typing.ByteString", "typing.NoDefault", "typing.ReadOnly", "typing.TypeIs"),
    *("typing.get_protocol_members", "typing.is_protocol", "typing.override"),
}


@pytest.mark.parametrize("name", sorted(policy.MODULES))
def test_every_name_on_the_page_exists(name: str) -> None:
    given = vars(importer.allowed_module(name))
    assert {f"{name}.{one}" for one in policy.MODULES[name] if one not in given} <= NOT_EVERYWHERE


@pytest.mark.parametrize("name", sorted(policy.MODULES))
def test_a_missing_member_is_a_friendly_attribute_error(name: str) -> None:
    module = importer.allowed_module(name)
    with pytest.raises(AttributeError, match=f"{name} has no 'nothing' here"):
        _ = module.nothing
    assert sorted(vars(module)["__all__"]) == dir(module)
    assert importlib.import_module(name) is not module


# --- the zygote -------------------------------------------------------------------------------------------------------

AFTER_PRELOAD = """
import sys
from runtime.sandbox import importer
import tests.escapes.tenant_code as code
import asyncio
from tests.units.test_language_features import PROGRAMS
importer.preload()
assert sys.meta_path == [] and sys.path == []
opened = []
def watch(event, args):
    if event in ("open", "os.listdir", "os.scandir", "socket.__new__", "subprocess.Popen"):
        opened.append((event, str(args)[:80]))
sys.addaudithook(watch)
for source in PROGRAMS.values():
    code.execute(source)
print(opened, file=sys.stderr)
assert not opened
"""


def test_after_preload_everything_works_without_opening_anything() -> None:
    command = [sys.executable, "-c", AFTER_PRELOAD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


def test_nothing_can_be_imported_after_the_seal() -> None:
    program = "from runtime.sandbox import importer\nimporter.preload()\nimport antigravity"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "ModuleNotFoundError: No module named 'antigravity'" in done.stderr
