"""Values go to JavaScript and come back as they were."""

import math
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import limits
from runtime.protocol import values
from runtime.protocol.values import Int64

JAVASCRIPT = Path("runtime/sandbox/node_style/javascript").resolve()
# Reads frames, and answers each with the value in it: decoded, and encoded again.
ECHO = f"""
import {{ read, Splitter }} from "{JAVASCRIPT}/msgpack.mjs";
import {{ encode }} from "{JAVASCRIPT}/values.mjs";
const splitter = new Splitter(1 << 28);
process.stdin.on("data", (bytes) => {{
  for (const frame of splitter.feed(bytes)) {{
    const answer = encode(read(frame));
    const head = Buffer.alloc(4);
    head.writeUInt32LE(answer.length);
    process.stdout.write(Buffer.concat([head, answer]));
  }}
}});
"""

keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20).filter(
    lambda key: key[0] != "$"
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(keys | st.just("__proto__"), inner, max_size=20),
)


@pytest.fixture(scope="module")
def through_javascript() -> Iterator[Callable[[bytes], bytes]]:
    with subprocess.Popen(
        ["node", "--input-type=module", "-e", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as node:
        assert node.stdin is not None and node.stdout is not None
        to, back = node.stdin, node.stdout

        def send(data: bytes) -> bytes:
            to.write(struct.pack("<I", len(data)) + data)
            to.flush()
            (size,) = struct.unpack("<I", back.read(4))
            return back.read(size)

        yield send
        to.close()


def canonical(value: Any) -> Any:
    """What two values must share to be the same to a tenant; a whole number is one, however it was written."""
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if type(value) is float:
        if math.isnan(value):
            return "not a number"
        return (math.copysign(1, value), value)
    if type(value) is int:
        return (math.copysign(1, value), value)
    return (type(value), value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=anything)
def test_any_value_comes_back_from_javascript_as_it_was(
    through_javascript: Callable[[bytes], bytes], value: Any
) -> None:
    back = values.decode(through_javascript(values.encode(value)))
    assert canonical(back) == canonical(value)


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65_535, 65_536])
def test_every_width_of_a_length_is_written_and_read(through_javascript: Callable[[bytes], bytes], size: int) -> None:
    value = ["a" * size, b"b" * size, [None] * size, {f"k{number}": number for number in range(size)}]
    assert values.decode(through_javascript(values.encode(value))) == value


def test_a_frame_that_comes_in_pieces_is_read_whole() -> None:
    script = f"""
    import {{ frame, read, Splitter }} from "{JAVASCRIPT}/msgpack.mjs";
    const bytes = Buffer.concat([frame([1, "one"]), frame([2, "x".repeat(300)])]);
    for (let size = 1; size < bytes.length; size++) {{
      const splitter = new Splitter(1000);
      const found = [];
      for (let at = 0; at < bytes.length; at += size) {{
        for (const payload of splitter.feed(bytes.subarray(at, at + size))) found.push(read(payload)[0]);
      }}
      if (String(found) !== "1,2") throw new Error(`pieces of ${{size}}: ${{found}}`);
    }}
    """
    assert subprocess.run(["node", "--input-type=module", "-e", script], check=False).returncode == 0


def test_the_numbers_of_both_sides_are_the_same() -> None:
    lines = (JAVASCRIPT / "limits.mjs").read_text().splitlines()
    found = dict(line.removeprefix("export const ").rstrip(";").split(" = ") for line in lines if "=" in line)
    assert found
    for name, number in found.items():
        assert getattr(limits, name) == int(number), name
