"""What are things called, and is this text such a name?

Text is parsed here once; after that a value of these types is trusted and nobody looks at it again. Knows nothing of
HTTP, storage or processes.

Rules
1. A deployment name is one DNS label: it becomes a host name and a folder, so nothing else may pass.
2. A function path is ``dir/module:name``. It names a place in a bundle, never a file of the host.
3. Every parser raises `InvalidName` with the text it refused and the rule it broke.
"""

import os
import re
import secrets
from dataclasses import dataclass
from typing import NewType

DeploymentName = NewType("DeploymentName", str)
RequestId = NewType("RequestId", str)
VersionNumber = NewType("VersionNumber", int)

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")

# Kept short and plain on purpose: a name made of these is read aloud and typed by hand.
_ADJECTIVES = [
    "amber",
    "bold",
    "brave",
    "bright",
    "calm",
    "clever",
    "cosmic",
    "eager",
    "fast",
    "gentle",
    "happy",
    "keen",
    "kind",
    "lucky",
    "merry",
    "proud",
    "quiet",
    "swift",
    "tidy",
    "wise",
]
_ANIMALS = [
    "badger",
    "crane",
    "dove",
    "falcon",
    "ferret",
    "finch",
    "fox",
    "gecko",
    "hare",
    "heron",
    "lynx",
    "marmot",
    "otter",
    "owl",
    "panda",
    "rabbit",
    "robin",
    "seal",
    "wren",
    "yak",
]


class InvalidName(ValueError):
    """This text is not the name it was meant to be; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True, order=True)
class FunctionPath:
    """One function of a bundle: ``admin/users:purge`` is ``purge`` in ``admin/users.py``."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def parse_deployment_name(text: str) -> DeploymentName:
    """Read a deployment name: one lower-case DNS label of at most 63 characters (RFC 1123 §2.1)."""
    if not _LABEL.match(text):
        raise InvalidName(
            f"{text[:80]!r} is not a deployment name: use 1 to 63 lower-case letters, digits and inner hyphens"
        )
    return DeploymentName(text)


def parse_function_path(text: str) -> FunctionPath:
    """Read ``dir/module:name``; without a colon the name is ``default``, as the Convex clients write it."""
    module, _, name = text.removesuffix(".py").partition(":")
    module = module.removesuffix(".py").removesuffix(".js")
    name = name or "default"
    if not _MODULE.match(module) or not _IDENTIFIER.match(name):
        raise InvalidName(f"{text[:120]!r} is not a function path: write it as 'dir/module:name'")
    return FunctionPath(module, name)


def parse_variable_name(text: str) -> str:
    """Read the name of an environment variable: a letter or underscore, then those and digits, 64 in all."""
    if not _VARIABLE.match(text):
        raise InvalidName(f"{text[:80]!r} is not a variable name: use letters, digits and underscores, at most 64")
    return text


def parse_table_name(text: str) -> str:
    """Read a tenant's table name. Names that begin with an underscore belong to the system."""
    if not _TABLE.match(text):
        raise InvalidName(
            f"{text[:80]!r} is not a table name: begin with a letter, then letters, digits and underscores, at most 64"
        )
    return text


def random_deployment_name() -> DeploymentName:
    """Make a name like ``happy-otter-123`` for somebody who did not ask for one."""
    return DeploymentName(f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}-{100 + secrets.randbelow(900)}")


class RequestIds:
    """A supply of request ids: 16 hexadecimal digits, unpredictable.

    Drawn from the kernel by the page, because one system call per request is the dearest part of making an id.
    """

    def __init__(self) -> None:
        self._supply: list[str] = []

    def next(self) -> RequestId:
        """Take one id that was never given before."""
        if not self._supply:
            page = os.urandom(8 * 512).hex()
            self._supply = [page[at : at + 16] for at in range(0, len(page), 16)]
        return RequestId(self._supply.pop())
