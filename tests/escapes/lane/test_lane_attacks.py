"""What can hostile code do with the lane's wall around it?

Every attack of `attacks` runs in a lane of its own. It must end with a refusal, and the world outside must not have
noticed. Attacks that may be run without a wall succeed there, so that the refusal says something.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.escapes.lane.attacks import ATTACKS, WITH_A_DOOR
from tests.escapes.lane.lab import NODE, Door, Doors, Lab, World, in_node, in_python, without_a_wall

needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")

NODE_ATTACKS = {
    "read_the_password_file": ("require('fs').readFileSync('/etc/passwd'); say('done')", True),
    "read_the_hosts_data": ("require('fs').readFileSync(W.data + '/kept'); say('done')", True),
    "list_processes": ("require('fs').readdirSync('/proc'); say('done')", True),
    "write_its_packages": ("require('fs').writeFileSync(W.packages + '/new', ''); say('done')", False),
    "kill_the_host": ("process.kill(W.host, 0); say('done')", True),
    "kill_a_neighbour": ("process.kill(W.neighbour, 'SIGKILL'); say('done')", False),
    "connect_to_the_loopback": (
        "require('net').connect(W.tcp, '127.0.0.1').on('connect', () => say('done')).on('error', say)",
        False,
    ),
    "connect_to_a_unix_socket": (
        "require('net').connect(W.path).on('connect', () => say('done')).on('error', say)",
        False,
    ),
    "connect_to_an_abstract_socket": (
        "require('net').connect('\\0' + W.abstract).on('connect', () => say('done')).on('error', say)",
        False,
    ),
    "fetch_from_the_metadata_address": (
        "fetch('http://169.254.169.254/').then(() => say('done'), e => say(e.cause))",
        False,
    ),
    "say_it_by_udp": (
        "const u = require('dgram').createSocket('udp4'); u.on('error', say);"
        "u.send('x', W.udp, '127.0.0.1', e => say(e || 'done'))",
        False,
    ),
    "listen": ("require('net').createServer().on('error', say).listen(0, () => say('done'))", True),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_lane_contains(name: str, lab: Lab, world: World) -> None:
    attack = ATTACKS[name]
    ran = lab.run(in_python(attack.body, world.told), readable=[Path(world.told["packages"])], judge=Doors())
    assert ran.word in attack.words, ran
    assert world.touched() == []
    assert ran.left == []


@pytest.mark.parametrize("name", sorted(NODE_ATTACKS))
@needs_node
def test_a_lane_contains_node(name: str, lab: Lab, world: World) -> None:
    ran = lab.run(in_node(NODE_ATTACKS[name][0], world.told), readable=[Path(world.told["packages"])], judge=Doors())
    assert ran.word in {"EPERM", "EACCES"}, ran
    assert world.touched() == []
    assert ran.left == []


@pytest.mark.parametrize(
    "name",
    sorted(
        name for name, attack in ATTACKS.items() if attack.controlled and (os.getuid() == 0 or not attack.only_root)
    ),
)
def test_the_same_attack_succeeds_without_a_wall(name: str, world: World, tmp_path: Path) -> None:
    assert without_a_wall(in_python(ATTACKS[name].body, world.told), tmp_path) not in ATTACKS[name].words


@pytest.mark.parametrize("name", sorted(name for name, (_, controlled) in NODE_ATTACKS.items() if controlled))
@needs_node
def test_the_same_attack_succeeds_in_node_without_a_wall(name: str, world: World, tmp_path: Path) -> None:
    assert without_a_wall(in_node(NODE_ATTACKS[name][0], world.told), tmp_path) == "done"


def test_what_shows_that_these_doors_can_be_reached(tmp_path: Path) -> None:
    world = World(tmp_path)
    without_a_wall(in_python(ATTACKS["connect_to_the_loopback"].body, world.told), tmp_path)
    without_a_wall(in_python(ATTACKS["connect_to_a_unix_socket"].body, world.told), tmp_path)
    without_a_wall(in_python(ATTACKS["connect_to_an_abstract_socket"].body, world.told), tmp_path)
    without_a_wall(in_python(ATTACKS["say_it_by_udp"].body, world.told), tmp_path)
    without_a_wall(in_python(ATTACKS["send_a_pairs_message_to_a_unix_socket"].body, world.told), tmp_path)
    assert world.touched() == ["tcp", "udp", "path", "datagrams", "abstract"]
    world.close()


@pytest.mark.parametrize("name", sorted(WITH_A_DOOR))
def test_where_one_door_is_open_the_others_are_closed(name: str, lab: Lab, world: World) -> None:
    body, word = WITH_A_DOOR[name]
    with Door() as door:
        judge = Doors({door.port})
        ran = lab.run(in_python(body, {**world.told, "door": door.port}), judge=judge)
    assert ran.word == word, ran
    assert world.touched() == []


def test_an_address_that_changes_while_it_is_judged_is_connected_to_as_it_was_judged(lab: Lab, world: World) -> None:
    body = """
where = ctypes.create_string_buffer(b'\\2\\0' + W['door'].to_bytes(2, 'big') + b'\\x7f\\0\\0\\1', 16)
ports = [port.to_bytes(2, 'big') for port in (W['door'], W['tcp'])]
stop = []
def flip():
    while not stop:
        for port in ports:
            ctypes.memmove(ctypes.addressof(where) + 2, port, 2)
flipper = threading.Thread(target=flip)
flipper.start()
through = refused = 0
sys.setswitchinterval(1e-6)
while through < 20 or refused < 20:
    with socket.socket() as s:
        try:
            call(42, s.fileno(), ctypes.addressof(where), 16)
            through += s.getpeername()[1] == W['door'] and s.recv(1) == b'!'
        except PermissionError:
            refused += 1
stop.append(1)
flipper.join()
"""
    with Door() as door:
        ran = lab.run(in_python(body, {**world.told, "door": door.port}), judge=Doors({door.port}))
    assert ran.word == "done", ran
    assert world.touched() == []


def test_packages_cannot_be_changed_by_who_owns_them(lab: Lab, world: World) -> None:
    body = """
kept = W['packages'] + '/kept'
os.chmod(kept, 0)
os.utime(kept, (0, 0))
with open(kept) as file:
    os.fchmod(file.fileno(), 0o777)
"""
    before = Path(world.told["packages"], "kept").stat()
    ran = lab.run(in_python(body, world.told), readable=[Path(world.told["packages"])])
    after = Path(world.told["packages"], "kept").stat()
    assert ran.word == "done", ran
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
    assert world.touched() == []


def test_a_lane_has_one_descriptor_of_the_host_and_its_own_environment(lab: Lab, world: World) -> None:
    body = """
held = []
for descriptor in range(512):
    try:
        os.fstat(descriptor)
        held.append(descriptor)
    except OSError:
        pass
return json.dumps([held, sorted(os.environ), os.getcwd() == os.environ['HOME'] == os.environ['TMPDIR']])
"""
    ran = lab.run(in_python(body, world.told), environment={"SECRET": "own"})
    assert ran.word == '[[0, 1, 2, 3], ["HOME", "LC_CTYPE", "RES_OPTIONS", "SECRET", "TMPDIR"], true]'


def test_what_stands_in_a_scratch_folder_by_a_link_is_not_given_away(lab: Lab, world: World) -> None:
    """The folder itself is a link: whoever gave it to the lane was fooled, and nothing is opened."""
    from runtime.errors import SandboxUnavailable
    from runtime.limits import MIB
    from worker.lane.launching import Launch

    link = lab.folder / "link"
    link.symlink_to(world.told["data"])
    what = Launch(tuple(in_python("pass", {})), {}, (), link, 256 * MIB)
    with pytest.raises(SandboxUnavailable):
        lab.do(lab.launcher.launch(what))
    link.unlink()
