"""Installs the peers from PyPI and npm, once, beside the benchmarks; says which could not be had."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PEERS = Path(__file__).parent / ".peers"
_FASTAPI = ["fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"]
_FUNCTIONS = ["functions-framework==3.10.2"]
_WORKERD = "workerd@1.20261117.1"


@dataclass(frozen=True)
class Peers:
    """Where each peer is, or ``None`` with a line in ``missing`` that says why."""

    fastapi: Path | None
    functions_framework: Path | None
    workerd: Path | None
    versions: dict[str, str]
    missing: tuple[str, ...]


def install() -> Peers:
    """Have every peer that can be had."""
    missing: list[str] = []
    fastapi = _environment("fastapi", _FASTAPI, missing)
    functions = _environment("functions-framework", _FUNCTIONS, missing)
    workerd = _workerd(missing)
    versions = dict(requirement.split("==") for requirement in (*_FASTAPI, *_FUNCTIONS)) | dict([_WORKERD.split("@")])
    versions["rq"] = version("rq")  # in this environment: it is a part of Warren too
    return Peers(fastapi, functions, workerd, versions, tuple(missing))


def _environment(name: str, requirements: list[str], missing: list[str]) -> Path | None:
    home = PEERS / name
    python = home / "bin" / "python"
    done = home / ".done"
    if done.exists() and done.read_text() == " ".join(requirements):
        return python
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
    except (subprocess.SubprocessError, OSError) as error:
        missing.append(f"{name}: {error}")
        return None
    done.write_text(" ".join(requirements))
    return python


def _workerd(missing: list[str]) -> Path | None:
    home = PEERS / "workerd"
    binary = home / "node_modules" / "workerd" / "bin" / "workerd"
    if not binary.exists():
        npm = shutil.which("npm")
        if npm is None:
            missing.append("workerd: there is no npm on this machine")
            return None
        home.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                [npm, "install", "--silent", "--prefix", str(home), _WORKERD],
                check=True,
                capture_output=True,
                timeout=600,
            )
        except (subprocess.SubprocessError, OSError) as error:
            missing.append(f"workerd: {error}")
            return None
    return binary if binary.exists() else None
