"""Runs the whole platform on a small simulated shop, as a user would: by the command line, in a home of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cartograph.lake import Lake
from cartograph.settings import Settings, load_settings
from tests.support import forked

SMALL_SHOP = """
title: A small simulated shop
currency: EUR
start: 2024-01-01
end: {end}
sources:
  - type: ecom_assets.components.SimulatorSource
    datasets: [customers, products, campaigns, orders, order_items, payments, refunds, events, reviews, inventory,
      marketing_spend, experiment_assignments]
    attributes: {{customers: {customers}, seed: 11}}
"""
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "corner_shop"
TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Bench:
    """A home, a folder of shops and the environment that leads a command there."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def with_small_shop(cls, root: Path, *, customers: int = 400, end: str = "2025-01-01") -> Bench:
        """A bench whose chosen shop is `small`, simulated, with the given size and end."""
        (root / "shops").mkdir(parents=True)
        (root / "shops" / "small.yaml").write_text(SMALL_SHOP.format(customers=customers, end=end), encoding="utf-8")
        return cls.of_small_shop(root)

    @classmethod
    def of_small_shop(cls, root: Path) -> Bench:
        """The bench that `with_small_shop` made in `root`."""
        return cls(root, {"CARTOGRAPH_SHOP": "small", "CARTOGRAPH_SHOPS_DIR": str(root / "shops")})

    @classmethod
    def with_corner_shop(cls, root: Path) -> Bench:
        """A bench whose chosen shop is a copy of the example, whose files a test may damage."""
        shops = root / "docs" / "examples" / "corner_shop"
        shutil.copytree(EXAMPLE, shops)
        return cls(root, {"CARTOGRAPH_SHOP": "corner_shop", "CARTOGRAPH_SHOPS_DIR": str(shops)})

    def copied(self, root: Path) -> Bench:
        """A bench on a copy of this one's home, for what writes to the warehouse. Both have the same lake."""
        copy = Bench(root, self.variables)
        shutil.copytree(self.root / "home", root / "home", ignore=shutil.ignore_patterns("lake"))
        copy.settings.shop_home.joinpath("lake").symlink_to(self.settings.shop_home / "lake")
        return copy

    @property
    def environment(self) -> dict[str, str]:
        """The process's environment without its own settings, and with the bench's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CARTOGRAPH_")}
        return {**inherited, "CARTOGRAPH_HOME": str(self.root / "home"), "COLUMNS": "160", **self.variables}

    @property
    def settings(self) -> Settings:
        """The settings that a command on this bench has."""
        fields = {n.removeprefix("CARTOGRAPH_").lower(): v for n, v in self.environment.items() if n in self._own}
        return load_settings(**fields)

    @property
    def _own(self) -> set[str]:
        return {"CARTOGRAPH_HOME", "CARTOGRAPH_SHOP", "CARTOGRAPH_SHOPS_DIR", "CARTOGRAPH_PARTITION_GRAIN"}

    def command(self, *arguments: str) -> list[str]:
        """The argument list of `cartograph …`."""
        return [sys.executable, "-c", "from cartograph.cli import main; main()", *arguments]

    def cartograph(self, *arguments: str, expect: int = 0) -> str:
        """Run `cartograph …` to its end; what it printed on both channels. Fails on another exit status."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output.txt"
            status = forked.call(arguments, env=self.environment, cwd=self.root, output=output, seconds=TIMEOUT_SECONDS)
            printed = output.read_text(encoding="utf-8")
        assert status == expect, f"exit status {status}, expected {expect}:\n{printed}"
        return printed


@contextmanager
def up(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """`cartograph up` on ports of its own, from when all of it answers until the end of the block."""
    for name in ("CARTOGRAPH_DAGSTER_PORT", "CARTOGRAPH_API_PORT"):
        bench.variables[name] = str(_free_port())
    with subprocess.Popen(
        bench.command("up"), env=bench.environment, cwd=bench.root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def content(settings: Settings, *namespaces: str) -> dict[str, str]:
    """A hash of the sorted rows of each lake table in `namespaces`: equal content gives equal hashes.

    When and by which run a row was ingested is left out: that is what may differ between two runs.
    """
    lake = Lake.from_settings(settings)
    with lake.connect() as connection:
        return {
            info.identifier: connection.sql(
                f"""
                SELECT count(*) || ':' || coalesce(sha256(string_agg(digest, '' ORDER BY digest)), '')
                FROM (
                    SELECT md5(CAST(t AS VARCHAR)) AS digest
                    FROM (
                        SELECT COLUMNS(name -> name NOT IN ('_ingested_at', '_batch_id'))
                        FROM ({lake.relation_sql(info.identifier)})
                    ) AS t
                )
                """
            ).fetchall()[0][0]
            for info in lake.tables()
            if info.identifier.split(".")[0] in namespaces
        }
