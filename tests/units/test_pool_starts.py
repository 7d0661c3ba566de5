"""What happens to who waits for an isolate that never comes?"""

import asyncio
from pathlib import Path

import pytest

from runtime import limits
from runtime.errors import Overloaded
from runtime.invocation import Deployment, Version
from runtime.isolates.pool import Pool, PoolSettings
from runtime.isolates.zygote import Zygote
from runtime.main import SystemClock
from runtime.names import DeploymentName, VersionNumber
from runtime.protocol.declaration import Declaration

SILENT = "import time\n\ndef prepare():\n    pass\n\ndef main(layers):\n    while True:\n        time.sleep(60)\n"


async def test_an_isolate_that_never_says_that_it_is_ready_is_not_waited_for_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "START_TIME", limits.Limit(300, "ms", "a test does not wait long"))
    (tmp_path / "guest.py").write_text(SILENT)
    zygote = Zygote(guest=str(tmp_path / "guest.py"))
    await zygote.start()
    sizes = PoolSettings(isolates=4, isolates_per_deployment=2, spares=0)
    pool = Pool(zygote, sizes, SystemClock(), lambda name, line: None, lambda name, reason: None)
    version = Version(VersionNumber(1), "0" * 64, {}, Declaration())
    deployment = Deployment(DeploymentName("happy-otter-1"), version, {})
    async with asyncio.timeout(20):
        with pytest.raises(Overloaded, match="START_TIME"):
            await pool.acquire(deployment, version)
        assert pool.counts()["all"] == 0
        await pool.stop()
        await zygote.stop()
