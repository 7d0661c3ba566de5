"""Load on the function API: what ``wrk`` sends, as a script of its own.

A function that fails is answered with 200, so every script counts the answers that do not say ``success``; they come
out as errors.
"""

from collections.abc import Mapping
from pathlib import Path

_SCRIPT = """
wrk.headers["Content-Type"] = "application/json"
%(headers)slocal threads, failures = {}, 0
function setup(thread) table.insert(threads, thread) end
function init(arguments) math.randomseed(os.time() + tonumber(tostring({}):sub(8), 16) %% 1000000); failed = 0 end
function request() return wrk.format("POST", "/api/%(kind)s", nil, %(body)s) end
function response(status, head, body)
  if status == 200 and not body:find('"status":"success"', 1, true) then failed = failed + 1 end
end
function done()
  for _, thread in ipairs(threads) do failures = failures + thread:get("failed") end
  print("Failed calls: " .. failures)
end
"""


def calls(script: Path, kind: str, path: str, arguments: str, headers: Mapping[str, str] | None = None) -> Path:
    """A script that calls a function again and again; ``arguments`` is a Lua expression for their JSON."""
    body = f"""'{{"format":"json","path":"{path}","args":' .. {arguments} .. '}}'"""
    more = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in (headers or {}).items())
    script.write_text(_SCRIPT % {"headers": more, "kind": kind, "body": body})
    return script
