"""Has this machine what it takes to run Convex's own JavaScript packages, and where are they?

1. What a ``package-lock.json`` names is installed once, beside the environment's own packages, and found again by the
   lock's hash. No package's script runs.
2. A machine without Node.js or npm skips the test by name. One that has them and cannot install fails it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_OLDEST_NODE = 20
_HOME = Path(sys.prefix) / "npm"


def node() -> str:
    """Node.js, new enough for the packages."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node here")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.match(r"v(\d+)", version)
    if major is None or int(major[1]) < _OLDEST_NODE:
        pytest.skip(f"node is {version.strip()}, the packages need {_OLDEST_NODE}")
    return found


def chromium() -> str:
    """The browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no chromium here")
    return found


def installed(project: Path) -> Path:
    """The ``node_modules`` of what a project's lock names."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here")
    named = [project / "package.json", project / "package-lock.json"]
    home = _HOME / hashlib.sha256(b"\0".join(path.read_bytes() for path in named)).hexdigest()[:16]
    if not home.exists():
        _HOME.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_HOME) as folder:
            for path in named:
                shutil.copy(path, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
            # Whoever installs beside us and is first, wins: both have the same.
            try:
                os.rename(folder, home)
            except OSError:
                assert home.exists()
            else:
                Path(folder).mkdir()
    return home / "node_modules"


def workshop(project: Path, folder: Path) -> Path:
    """A copy of a project's files in ``folder``, with its packages beside them."""
    modules = installed(project)
    skip = shutil.ignore_patterns("node_modules", "build", "*.py", "__pycache__")
    shutil.copytree(project, folder, ignore=skip, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(modules)
    return folder
