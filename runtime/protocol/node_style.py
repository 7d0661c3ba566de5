"""Which files of a bundle are left to the workers?

Said once, for both sides of the wall and in the same way: a guest skips such a file, the host believes no other.
Read from the first characters of a file, without a parser, because the host never parses what tenants write.

Rules
1. A module is Node-style when its first statement is the text "use node", written plainly: no escapes, no prefix.
2. Comments and empty lines may stand before it. What stands after it on its line is a semicolon or a comment.
3. The time it takes grows with the length of the file and with nothing else.
"""

import re

from runtime.protocol.declaration import Engine

# Possessive (`*+`): what was skipped is never tried again in another way.
_PYTHON = re.compile(
    rb"""(?:\xef\xbb\xbf)?                               # a byte order mark
    (?:[ \t\f]*+(?:\#[^\r\n]*+)?(?:\r\n|\r|\n))*+        # empty lines and comments
    (?P<quote>\"\"\"|'''|["'])use[ ]node(?P=quote)
    [ \t\f]*+(?:[;#\r\n]|\Z)""",
    re.VERBOSE,
)
_SCRIPT = re.compile(
    rb"""(?:\xef\xbb\xbf)?(?:\#![^\r\n]*+)?
    (?:\s|//[^\r\n]*+|/\*(?>(?s:.*?)\*/))*+
    (?P<quote>["'])use[ ]node(?P=quote)
    [ \t\f]*+(?:;|//|/\*|[\r\n]|\Z)""",
    re.VERBOSE,
)
_SCRIPTS = (".js", ".mjs")


def engine_of(path: str, data: bytes) -> Engine:
    """What runs the functions of this file."""
    if path.endswith(".py"):
        return Engine.PYTHON if _PYTHON.match(data) else Engine.ISOLATE
    if path.endswith(_SCRIPTS):
        return Engine.NODE if _SCRIPT.match(data) else Engine.ISOLATE
    return Engine.ISOLATE


def module_of(path: str) -> str:
    """The part of a function's path before the colon, for functions of this file."""
    return path.rpartition(".")[0]
