"""Is a lane's network the one that its judge allows, and does it otherwise behave like a network?

Seen from inside by CPython and Node.js, with their own ways to connect and to ask for names.
"""

import socket
from collections.abc import Iterator, Sequence

import pytest

from runtime.egress.policy import OPEN
from runtime.egress.rules import Rules, parse_exceptions
from runtime.limits import LANE_REFUSALS
from tests.escapes.lane.lab import NODE, Door, Doors, Lab, in_node, in_python
from worker.node_style.egress import PolicyJudge

needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")

NAMES = {
    "door.example": ["127.0.0.1"],
    "rebound.example": ["127.0.0.1"],
    "both.example": ["93.184.216.34", "10.0.0.1"],
    "wide.example": ["2606:2800:220:1::1", "127.0.0.1"],
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab(NAMES)
    yield lab
    lab.close()


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as door:
        yield door


class ByName(Doors):
    """A judge that lets through only who asked for a name that it knows."""

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        return super().permitted(host, addresses, port if host in self.names else -1)


@pytest.mark.parametrize(
    "body",
    [
        "return socket.create_connection(('127.0.0.1', W['door'])).recv(1).decode()",
        "return socket.create_connection(('::ffff:127.0.0.1', W['door'])).recv(1).decode()",
        """
import asyncio
async def main():
    reader, writer = await asyncio.open_connection('127.0.0.1', W['door'])
    return (await reader.read()).decode()
return asyncio.run(main())
""",
        """
import select
s = socket.socket()
s.setblocking(False)
if s.connect_ex(('127.0.0.1', W['door'])) == errno.EINPROGRESS:
    select.select([], [s], [])
select.select([s], [], [])
return s.recv(1).decode() if s.getpeername()[1] == W['door'] else 'nobody'
""",
        """
s = socket.socket()
s.settimeout(5)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
s.connect(('127.0.0.1', W['door']))
kept = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) and s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
return s.recv(1).decode() if kept else 'forgotten'
""",
        """
found = []
def once():
    found.append(socket.create_connection(('127.0.0.1', W['door'])).recv(1))
threads = [threading.Thread(target=once) for _ in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
return '!' if found == [b'!'] * 20 else str(found)
""",
    ],
    ids=["blocking", "mapped", "asyncio", "non-blocking", "options", "threads"],
)
def test_python_connects_as_it_always_does(body: str, lab: Lab, door: Door) -> None:
    assert lab.run(in_python(body, {"door": door.port}), judge=Doors({door.port})).word == "!"


@needs_node
def test_node_connects_as_it_always_does(lab: Lab, door: Door) -> None:
    program = "require('net').connect(W.door, '127.0.0.1').on('data', d => say(d)).on('error', say)"
    assert lab.run(in_node(program, {"door": door.port}), judge=Doors({door.port})).word == "!"


def test_a_port_where_nobody_listens_says_so(lab: Lab, door: Door) -> None:
    closed = Door()
    with closed:
        pass
    body = "socket.create_connection(('127.0.0.1', W['door']))"
    assert lab.run(in_python(body, {"door": closed.port}), judge=Doors({closed.port})).word == "ECONNREFUSED"


@needs_node
def test_a_port_where_nobody_listens_says_so_to_node(lab: Lab) -> None:
    closed = Door()
    with closed:
        pass
    program = "require('net').connect(W.door, '127.0.0.1').on('connect', () => say('done')).on('error', say)"
    assert lab.run(in_node(program, {"door": closed.port}), judge=Doors({closed.port})).word == "ECONNREFUSED"


def test_without_a_judge_there_is_no_network(lab: Lab, door: Door) -> None:
    body = "socket.create_connection(('127.0.0.1', W['door']))"
    assert lab.run(in_python(body, {"door": door.port})).word == "EACCES"
    name = "socket.getaddrinfo('door.example', 80)"
    assert lab.run(in_python(name, {})).word != "done"


def test_python_finds_names_and_connects_by_them(lab: Lab, door: Door) -> None:
    judge = ByName({door.port}, {"door.example", "wide.example"})
    body = "return socket.create_connection(('{}', W['door'])).recv(1).decode()"
    for name in ("door.example", "wide.example", "DOOR.example"):
        assert lab.run(in_python(body.format(name), {"door": door.port}), judge=judge).word == "!", name
    both = "return str(sorted({each[4][0] for each in socket.getaddrinfo('wide.example', 80)}))"
    assert lab.run(in_python(both, {}), judge=judge).word == "['127.0.0.1', '2606:2800:220:1::1']"


@needs_node
def test_node_finds_names_and_connects_by_them(lab: Lab, door: Door) -> None:
    judge = ByName({door.port}, {"door.example"})
    program = "require('net').connect(W.door, 'door.example').on('data', d => say(d)).on('error', say)"
    assert lab.run(in_node(program, {"door": door.port}), judge=judge).word == "!"


def test_an_address_without_its_name_is_judged_as_an_address(lab: Lab, door: Door) -> None:
    judge = ByName({door.port}, {"door.example"})
    body = "socket.create_connection(('127.0.0.1', W['door']))"
    assert lab.run(in_python(body, {"door": door.port}), judge=judge).word == "EACCES"
    assert judge.refusals == ["127.0.0.1, port -1, is not allowed"]


def _own_address() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return str(probe.getsockname()[0]) if probe.connect_ex(("198.51.100.1", 9)) == 0 else None


class NotTheLoopback(Doors):
    """A judge that lets through everything but the loopback."""

    def permitted(self, host: str | None, addresses: Sequence[str], port: int | None) -> Sequence[str]:
        return super().permitted(host, addresses, -1 if "127.0.0.1" in addresses else port)


@pytest.mark.skipif(_own_address() is None, reason="this machine has no address but the loopback")
def test_an_address_of_this_machine_is_judged_as_the_loopback_too(lab: Lab) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        body = f"socket.create_connection(('{_own_address()}', {port}))"
        assert lab.run(in_python(body, {}), judge=NotTheLoopback({port})).word == "EACCES"
        assert lab.run(in_python(body, {}), judge=Doors({port})).word == "done"


def test_a_name_that_may_not_be_asked_for_does_not_exist(lab: Lab) -> None:
    body = """
try:
    socket.getaddrinfo('secret-in-a-name.example', 443)
except socket.gaierror as error:
    return str(error.errno == socket.EAI_NONAME)
"""
    judge = Doors()
    assert lab.run(in_python(body, {}), judge=judge).word == "True"
    assert judge.refusals and set(judge.refusals) == {"secret-in-a-name.example may not be asked for"}


@pytest.mark.parametrize("name", ["rebound.example", "both.example"])
def test_a_name_that_leads_inside_is_refused_and_said_so(name: str, lab: Lab) -> None:
    said: list[str] = []
    judge = PolicyJudge(Rules(parse_exceptions("")), lambda: OPEN, said.append)
    body = f"""
try:
    socket.create_connection(('{name}', 443), 1)
except socket.gaierror as error:
    return 'unknown'
"""
    command = in_python(body, {})
    assert lab.run(command, judge=judge).word == "unknown"
    assert said and all("private, local or reserved" in line for line in said)


@needs_node
def test_a_name_that_leads_inside_is_refused_to_node(lab: Lab) -> None:
    judge = PolicyJudge(Rules(parse_exceptions("")), lambda: OPEN, lambda _: None)
    program = "fetch('http://rebound.example/').then(() => say('done'), e => say(e.cause))"
    assert lab.run(in_node(program, {}), judge=judge).word == "ENOTFOUND"


def test_a_flood_of_refused_connects_is_a_few_lines_in_the_log(lab: Lab) -> None:
    judge = Doors()
    body = """
for _ in range(100):
    try:
        socket.create_connection(('10.0.0.1', 443))
    except PermissionError:
        pass
"""
    assert lab.run(in_python(body, {}), judge=judge).word == "done"
    assert len(judge.refusals) == LANE_REFUSALS


def test_a_lane_that_is_killed_while_it_connects_leaves_nothing(lab: Lab, door: Door) -> None:
    body = """
os.write(3, b'!')
where = ('127.0.0.1', W['door'])
while True:
    for thread in [threading.Thread(target=socket.create_connection, args=(where,)) for _ in range(9)]:
        thread.start()
"""
    lane = lab.open(in_python(body, {"door": door.port}), judge=Doors({door.port}))
    lab.do(lab.hear(lane))
    lane.kill()
    assert lab.do(lane.ended()).status == -9
    lab.do(lane.close())
