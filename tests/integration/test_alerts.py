"""Alerts end to end: what goes wrong in a run of the command line reaches a webhook by `cartograph up`'s sensors."""

from __future__ import annotations

from pathlib import Path

from tests.support.receiver import Receiver, receiving
from tests.support.whole_run import Bench, up

PROMISED_SECONDS = 60
READ_OF_SALES = ("raw/orders", "raw/order_items")
ALERTS = """
sinks: {chat: {type: webhook, url: "${CARTOGRAPH_CHAT_URL}"}}
routes: [{owners: ["team:data-platform"], sinks: [chat]}]
"""


def next_titles(receiver: Receiver, number: int) -> set[str]:
    """The titles of the next messages, each of which came in time and says what to do about a failure."""
    bodies = [receiver.received.get(timeout=PROMISED_SECONDS).body for _ in range(number)]
    assert all("docs/runbook.md#" in body["text"] or body["cartograph"]["recovered"] for body in bodies)
    return {body["text"].splitlines()[0].strip("*") for body in bodies}


def test_a_fault_and_its_mending_reach_the_webhook_within_a_minute(tmp_path: Path) -> None:
    bench = Bench.with_corner_shop(tmp_path)
    (tmp_path / "alerts.yaml").write_text(ALERTS, encoding="utf-8")
    broken = tmp_path / "docs/examples/corner_shop/data/sales/broken.csv"
    with receiving() as receiver:
        bench.variables["CARTOGRAPH_ALERTS_FILE"] = str(tmp_path / "alerts.yaml")
        bench.variables["CARTOGRAPH_CHAT_URL"] = receiver.url
        assert "chat: taken" in bench.cartograph("alerts", "test")
        (said,) = (receiver.received.get(timeout=PROMISED_SECONDS).body["text"],)
        assert "Warning: a test (test)" in said
        assert "docs/runbook.md#test" in said
        with up(bench):
            broken.write_bytes(b"")
            bench.cartograph("run", "--select", 'group:"raw"')
            assert next_titles(receiver, 2) == {f"Warning: {asset} (everything_readable)" for asset in READ_OF_SALES}
            assert "broken.csv" in bench.cartograph("alerts", "list")
            broken.unlink()
            bench.cartograph("run", "--select", 'group:"raw"')
            assert next_titles(receiver, 2) == {f"Recovered: {asset} (everything_readable)" for asset in READ_OF_SALES}
        assert receiver.received.empty(), "nothing is told twice"
