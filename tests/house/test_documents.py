"""Do the documents say what the code says, and do their links lead somewhere?"""

import importlib.util
import re
from types import ModuleType

import pytest

from tests.house.reading import ROOT, files

PAGES = ("limits.md", "settings.md")
MUST_BE_THERE = (
    *("README.md", "ARCHITECTURE.md", "GLOSSARY.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("Makefile", ".ci/run", "requirements.lock", "requirements-dev.lock"),
    *("docs/limits.md", "docs/settings.md", "docs/http-actions.md", "docs/functions.md", "docs/operators.md"),
    *("examples/messages/README.md",),
)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES)
def test_a_page_made_from_the_code_is_what_the_code_makes(page: str) -> None:
    made = _generator().PAGES[page]()
    assert (ROOT / "docs" / page).read_text("utf-8") == made, "run `make docs`"


def test_every_limit_is_on_its_page() -> None:
    from runtime import limits

    page = (ROOT / "docs" / "limits.md").read_text("utf-8")
    names = [name for name, value in vars(limits).items() if isinstance(value, limits.Limit)]
    assert names and [name for name in names if f"`{name}`" not in page] == []


def test_no_document_links_to_what_is_not_there() -> None:
    broken = []
    for path in files():
        if path.endswith(".md"):
            folder = (ROOT / path).parent
            broken += [
                f"{path} → {target}"
                for target in _LINK.findall((ROOT / path).read_text("utf-8"))
                if not (folder / target).exists()
            ]
    assert broken == []


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(path.removeprefix("docs/decisions/")[:4]) for path in files() if path.startswith("docs/decisions/")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", MUST_BE_THERE)
def test_what_every_reader_looks_for_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
