"""What does a tool's complaint mean to the person who pushed?

Rules
1. It becomes one sentence of readable length, with the line of the first requirement that it names.
2. No address and no path of this machine is in it: where packages come from is between the server and its operator.
3. An index that cannot be reached is said to be that. It is not the bundle's mistake.
4. The operator's log gets one line of it: what tools say is a stranger's, and addresses may hold passwords.
"""

import logging
import re
from collections.abc import Mapping

from runtime.errors import PushRefused
from runtime.protocol.declaration import Diagnostic
from worker.packages.tools import Ran

log = logging.getLogger("warren.packages")

_READABLE = 1_000
_LOGGED = 4_000
_USER = re.compile(r"//[^\s/@]*@")
_ADDRESS = re.compile(r"\b(?:https?|file)://\S+")
_PATH = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+[\w.+-]*")
_UNREACHABLE = re.compile(
    r"\b(?:dns error|error sending request|connection refused|tcp connect error|operation timed out|certificate"
    r"|connect ECONNREFUSED|code (?:ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH"
    r"|ERR_SOCKET_TIMEOUT|ERR_SSL\w*|\w*CERT\w*)|HTTP status (?:server|client) error"
    r"|code E(?:401|403|407|429|5\d\d))\b",
    re.IGNORECASE,
)
_UV_LEAD = re.compile(r"^\s*(?:error|cause):\s*|^\s*[\u00d7\u2500-\u25b6]+\s*")
_NPM_LEAD = re.compile(r"^npm (?:error|ERR!)\s?(?:code \w+|\d{3}|notarget|syscall \w+|errno \S+)?\s*")
_NPM_NOISE = re.compile(
    r"A complete log of this run|^\s*at |^Note that you can also|^tarball, folder|^[{}]|^\s*\w+: .*,?$|^In most cases"
)


def refuse(ran: Ran, file: str, lines: Mapping[str, int]) -> PushRefused:
    """The refusal that a failed run means; ``lines`` says where in the file each package is asked for."""
    said = _said(ran.text)
    log.info("resolving or installing %s failed with code %d: %s", file, ran.code, _in_one_line(ran.text))
    if _UNREACHABLE.search(ran.text):
        index = "registry" if file.startswith("package") else "index"
        message = (
            f"the package {index} cannot be reached or used from this server, so packages cannot be installed now; "
            f"nothing is known to be wrong with this file. It was: {said[-300:]}"
        )
        return PushRefused([Diagnostic(file, 1, message)])
    message = said[:_READABLE] or f"the packages cannot be installed: the tool ended with code {ran.code}"
    return PushRefused([Diagnostic(file, _line(ran.text, lines), message)])


def _said(text: str) -> str:
    kept = []
    for line in text.splitlines():
        from_npm = line.startswith("npm ")
        bare = (_NPM_LEAD if from_npm else _UV_LEAD).sub("", line).strip()
        if bare and not line.startswith(("npm warn", "warning:")) and not (from_npm and _NPM_NOISE.search(bare)):
            kept.append(bare)
    lead, rest = kept[:1], kept[1:]
    return _PATH.sub("…", _ADDRESS.sub("…", ": ".join(filter(None, (*lead, " ".join(rest))))))


def _in_one_line(text: str) -> str:
    return " | ".join(line.strip() for line in _USER.sub("//…@", text).splitlines() if line.strip())[:_LOGGED]


def _line(text: str, lines: Mapping[str, int]) -> int:
    named = []
    for name, line in lines.items():
        found = re.search(rf"(?<![\w@/-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE)
        if found:
            named.append((found.start(), line))
    return min(named)[1] if named else 1
