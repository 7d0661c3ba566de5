"""``python -m benchmarks [--small] [NAME ...]``: run the figures named (or all), print them, write the report.

``--small`` tries whether they run, at small sizes, and writes no report.
"""

import datetime
import json
import platform
import shutil
import statistics
import sys
from pathlib import Path

from benchmarks import data_figures, figures, live_figures
from benchmarks.load import wrk_is_missing
from benchmarks.measuring import Bench, Figure
from benchmarks.peers_installed import install
from benchmarks.queue import figures as queue_figures
from benchmarks.queue import node_figures, scheduled_figures
from benchmarks.servers import HERE, scratch

# A section of the report each.
SECTIONS = {
    "The foundation": figures.ALL,
    "The data half": {**data_figures.ALL, **live_figures.ALL},
    "The queue": {**queue_figures.ALL, **scheduled_figures.ALL, **node_figures.ALL},
}
ALL = {name: measuring for section in SECTIONS.values() for name, measuring in section.items()}


def main(names: list[str]) -> int:
    """Run, print, write; exit code 2 when there is nothing to load with or a name is unknown."""
    small = "--small" in names
    names = [name for name in names if name != "--small"]
    unknown = [name for name in names if name not in ALL]
    problem = f"no such figure: {', '.join(unknown)}; there are {', '.join(ALL)}" if unknown else wrk_is_missing()
    if problem:
        print(problem, file=sys.stderr)
        return 2
    print("installing the peers", file=sys.stderr)
    bench = Bench(scratch(), install(), *((1, 1.0, True) if small else ()))
    measured: dict[str, list[Figure]] = {}
    for name in names or ALL:
        print(f"measuring: {name}", file=sys.stderr)
        section = next(title for title, all_of_it in SECTIONS.items() if name in all_of_it)
        for figure in ALL[name](bench):
            measured.setdefault(section, []).append(figure)
            print(row(figure), flush=True)
    if small:
        print(*absolute(bench), sep="\n")
    else:
        write(bench, measured)
    shutil.rmtree(bench.scratch)
    return 0


def row(figure: Figure) -> str:
    """One line of the report's table."""
    verdict = (
        "reaches the aim"
        if figure.reaches(figure.aim)
        else "reaches the must"
        if figure.reaches(figure.must)
        else "MISSES"
    )
    spread = f"{min(figure.values):.3g} to {max(figure.values):.3g}"
    must, aim = f"{figure.must:g}", f"{figure.aim:g}"
    return f"| {figure.name} | {figure.median:.3g} {figure.unit} | {spread} | {must} | {aim} | {verdict} |"


def table(section: str, measured: list[Figure]) -> list[str]:
    """A section of the report, and what its figures do not say by themselves."""
    return [
        f"## {section}",
        "",
        "| figure | median | rounds (min to max) | must | aim | verdict |",
        "|---|---|---|---|---|---|",
        *(row(figure) for figure in measured),
        "",
        *(f"- {figure.name}: {figure.note}" for figure in measured if figure.note),
        "",
    ]


def absolute(bench: Bench) -> list[str]:
    """The figures behind the ratios."""
    return [
        f"- {name}: {statistics.median(values):,.4g} ({min(values):,.4g} to {max(values):,.4g})"
        for name, values in bench.raw.items()
    ]


def write(bench: Bench, measured: dict[str, list[Figure]]) -> None:
    """Write ``benchmarks/results/latest.md`` and ``.json``."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    cores = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    machine = f"Python {platform.python_version()}, Linux {platform.release().split('-')[0]}, {cores} cores"
    lines = [
        "# Benchmark results",
        "",
        f"Measured {when} on one machine in one run: {machine}. Written by `make bench`.",
        "A ratio is Warren ÷ the peer in the same round; quoted is the median of the rounds.",
        "",
        *(line for section, of_it in measured.items() for line in table(section, of_it)),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in bench.peers.versions.items()) + ".",
        *(f"Missing peer: {line}." for line in bench.peers.missing),
        "",
        "## Absolute figures behind the ratios (median, min to max; they belong to this machine and hour)",
        "",
        *absolute(bench),
    ]
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.md").write_text("\n".join(lines) + "\n")
    record = {
        "measured": when,
        "machine": machine,
        "versions": bench.peers.versions,
        "missing": bench.peers.missing,
        "figures": [
            {"name": figure.name, "unit": figure.unit, "values": figure.values, "must": figure.must, "aim": figure.aim}
            for of_it in measured.values()
            for figure in of_it
        ],
        "absolute": bench.raw,
    }
    (results / "latest.json").write_text(json.dumps(record, indent=1) + "\n")


sys.exit(main(sys.argv[1:]))
