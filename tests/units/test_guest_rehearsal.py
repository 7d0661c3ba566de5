import os
import sys

from runtime.sandbox.guest import loader
from runtime.sandbox.guest.rehearsal import rehearse
from runtime.sdk.env import env, replace_environment
from tests.units.guests import Host


def test_a_rehearsal_leaves_nothing_behind() -> None:
    loader.forget()  # what an earlier test has loaded
    replace_environment({})
    before = (len(os.listdir("/proc/self/fd")), list(sys.meta_path), dict(env))
    rehearse()
    assert (len(os.listdir("/proc/self/fd")), list(sys.meta_path), dict(env)) == before
    assert not [name for name in sys.modules if name.startswith("_bundle")]


def test_a_guest_works_after_a_rehearsal() -> None:
    rehearse()
    host = Host()
    host.load({"m.py": "from runtime import query\n@query\ndef q(ctx):\n    return 1"})
    host.call("m:q")
    assert host.returned() == 1
    host.close()
