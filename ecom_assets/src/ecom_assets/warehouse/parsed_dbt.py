"""dbt on a project that is parsed: `python -m ecom_assets.warehouse.parsed_dbt build …`, with dbt's own arguments.

`CARTOGRAPH_DBT_PARSED` is the folder from `dbt_project.parsed_project`. The dbt command compares the connection with
that of the parse, which names the shop's warehouse file, and so would parse for each shop and home anew: seconds.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumuro_decoder

from cartograph.leaving import leave
from cartograph.starting import to_stay
from ecom_assets.warehouse.dbt_project import PARSED_VARIABLE, PARTIAL_PARSE, VARS_VARIABLE
from ecom_assets.warehouse.dbt_vars import with_vars

EXIT_FAILED = 1
EXIT_ERROR = 2


def parsed_manifest(folder: Path) -> Manifest:
    """The manifest in the folder of a parsed project, as dbt has it after parsing."""
    manifest = Manifest.from_msgpack((folder / PARTIAL_PARSE).read_bytes(), decoder=extended_mashumuro_decoder)
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]  # macros see it as `graph`; it is not in the file
    return manifest


def main() -> int:
    """Call dbt; its exit status."""
    arguments = with_vars(sys.argv[1:], json.loads(os.environ[VARS_VARIABLE]))
    with to_stay():
        manifest = parsed_manifest(Path(os.environ[PARSED_VARIABLE]))
    done = dbtRunner(manifest).invoke(arguments)
    if done.exception is not None:
        sys.stderr.write(f"{done.exception}\n")
        return EXIT_ERROR
    return 0 if done.success else EXIT_FAILED


if __name__ == "__main__":
    leave(main())
