"""The command ``warren``: which commands are there?

Rules
1. A module of this room is one topic; what a command does is told by its docstring, which is also its help.
"""

from importlib.metadata import version

import click

from control_plane.cli.bundles import init
from control_plane.cli.data.tables import data
from control_plane.cli.data.transfer import export_documents, import_documents
from control_plane.cli.deploying import deploy, functions, rollback, versions
from control_plane.cli.dev import control_plane, dev, router, serve, worker
from control_plane.cli.doctor import doctor
from control_plane.cli.interface.codegen import codegen
from control_plane.cli.live import env, logs, run
from control_plane.cli.operating import deployments, keys
from control_plane.cli.scheduling.crons import crons
from control_plane.cli.scheduling.schedules import schedules
from control_plane.cli.storage.files import files


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("warren"), prog_name="warren")
def main() -> None:
    """Run Python functions for many tenants, safely.

    `warren dev` starts a server for the bundle in this folder; `warren init` writes one to start from.
    """


for _command in (
    dev,
    init,
    deploy,
    run,
    logs,
    env,
    data,
    import_documents,
    export_documents,
    functions,
    schedules,
    crons,
    files,
    codegen,
    versions,
    rollback,
    deployments,
    keys,
    serve,
    router,
    control_plane,
    worker,
    doctor,
):
    main.add_command(_command)

if __name__ == "__main__":
    main()
