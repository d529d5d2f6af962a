"""Erasing a customer by the command line: killed in the middle, called again, and then nothing is left of them."""

from __future__ import annotations

import json
import subprocess
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from fastapi.testclient import TestClient

from api.main import create_app
from cartograph.cli import EXIT_INTERRUPTED
from cartograph.cli.erase import EVENT_LOG, begin, checked_reason, conclude, make_anew, search
from cartograph.cli.run import EXIT_FAILED
from cartograph.erasure import ErasureError, Register, Wanted, scan, sought
from cartograph.events import read, segments
from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.contents.files import CUSTOMERS, RECOMMENDATIONS, SHOP
from cartograph.releases.contents.tables import RECOMMENDATION_COLUMNS, open_customers, open_lists, write_lists
from cartograph.windows import Window, at_midnight
from ecom_assets.ingestion import quarantine_summary
from ml_assets.core.models.recommendation.lists import RECOMMENDATIONS as LISTS
from tests.api.recommending import batch
from tests.support.whole_run import Bench, content
from tests.unit.events.making import append, make_event

NAMELESS = (
    "agg_daily_sales",
    "agg_product_performance",
    "channel_attribution",
    "conversion_funnel",
    "customer_cohorts",
    "payment_mix",
    "sales_by_geography",
    "weekday_sales",
)
"""Marts that name nobody: nothing of them may change."""
LISTED, EARLIER = "predictions.product_recommendations", date(2024, 3, 1)


@dataclass(frozen=True)
class Gone:
    """A shop after its run, a killed erasure and a whole one; and what it was before."""

    bench: Bench
    customer: str
    person: dict[str, object]
    features: dict[str, object]
    marts: dict[str, str]
    rows: dict[str, int]
    listed: str
    printed: str

    @property
    def lake(self) -> Lake:
        return Lake.from_settings(self.bench.settings)

    @property
    def pseudonym(self) -> str:
        found = Register.of(self.bench.settings).find(self.customer)
        assert found is not None
        return found.pseudonym


def row_counts(lake: Lake) -> dict[str, int]:
    """Of the tables that have rows: a load may make one that has none yet."""
    return {info.identifier: info.current.rows for info in lake.tables() if info.current and info.current.rows}


def api_features(bench: Bench, customer: str) -> dict[str, object]:
    with TestClient(create_app(bench.settings), base_url="http://localhost") as client:
        answer = client.get(f"/v1/customers/{customer}")
        assert answer.status_code == 200
        features: dict[str, object] = answer.json()["features"]
        return features


def recommend_earlier(lake: Lake, customer: str) -> None:
    """Lists of an earlier as-of date, as a month ago's run would have left them: the shop itself is too young."""
    row = {"customer_id": customer, "as_of_date": EARLIER, "rank": 1, "product_id": "P1", "score": 1.0}
    row |= {"source": "history", "because_product_id": None, "recommender_version": "1"}
    with lake.overwriting(LISTED, Window(at_midnight(EARLIER), at_midnight(date(2024, 4, 1)))) as writer:
        writer.write(pa.Table.from_pylist([row], LISTS.arrow_schema()))


def publish_an_earlier_one(bench: Bench) -> None:
    """A second release with the same customers, and the first current again: there is something to roll back to.

    It has recommendations too, in the files of a recommender.
    """
    store = open_store(bench.settings)
    current = store.current()
    folder = store.fetch(current.release_id)
    with store.creating(current.inputs, created_at=current.created_at) as draft:
        for entry in current.files:
            (draft.path / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (draft.path / entry.path).write_bytes((folder / entry.path).read_bytes())
        for name, written in batch().files.items():
            (draft.path / name).parent.mkdir(exist_ok=True)
            (draft.path / name).write_bytes(written)
        ids = open_customers(folder / CUSTOMERS)["customer_id"].to_pylist()
        lists = {"product_ids": ["P00"], "scores": [1.0], "sources": ["history"], "because_product_ids": [None]}
        rows = [{"customer_id": customer, "model_version": "1", **lists} for customer in ids]
        listed = pa.Table.from_pylist(rows, pa.schema(list(RECOMMENDATION_COLUMNS.items())))
        write_lists(draft.path / RECOMMENDATIONS, listed, RECOMMENDATION_COLUMNS)
        card = json.loads((folder / SHOP).read_text())
        (draft.path / SHOP).write_text(json.dumps({**card, "title": "As it was"}))
    store.activate(current.release_id)


def kill_in_the_middle(bench: Bench, customer: str) -> None:
    """Begin to erase, and kill the process once the lake is rewritten and the warehouse is being made anew."""
    command = bench.command("erase", "--customer", customer, "--reason", "request 17")
    with subprocess.Popen(command, env=bench.environment, cwd=bench.root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "quality/asset_graph" in line:
                process.kill()


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Gone:
    bench = Bench.with_small_shop(tmp_path_factory.mktemp("erased"), customers=150, end="2024-07-01")
    bench.cartograph("run")
    lake = Lake.from_settings(bench.settings)
    example = json.loads(quarantine_summary(lake, "orders").to_pylist()[0]["example"])
    customer = example["customer_id"]  # whose quarantined row stands in the event log, too
    people = lake.batches("raw.customers").read_all().to_pylist()
    recommend_earlier(lake, customer)
    publish_an_earlier_one(bench)
    event = make_event("not loaded yet", customer_id=customer, visitor_id="v_of_the_phone")
    append(bench.settings.events_dir, event, make_event("of a stranger"))
    (bench.settings.logs_dir / "some.log").write_text(f"one line\na bad row of {customer}\n")
    person = next(row for row in people if row["customer_id"] == customer)
    (bench.settings.logs_dir / "mail.log").write_text(f"asked by {person['email']} herself\n")  # and no id
    before = {
        "person": person,
        "features": api_features(bench, customer),
        "marts": content(bench.settings, "published"),
        "rows": row_counts(lake),
    }
    kill_in_the_middle(bench, customer)
    listed = bench.cartograph("erase", "--list")
    printed = bench.cartograph("erase", "--customer", customer)
    return Gone(bench=bench, customer=customer, listed=listed, printed=printed, **before)


def test_a_killed_erasure_is_known_and_goes_on_when_it_is_called_again(gone: Gone) -> None:
    assert "not yet: call it again" in gone.listed
    assert "absent from all" in gone.printed
    assert "searching for 1 id, 0 of" not in gone.printed, "what was hers is not in the lake any more"
    assert "totals as before" in gone.printed
    assert not list(sought.folder_of(gone.bench.settings).iterdir()), "it is over"
    listed = gone.bench.cartograph("erase", "--list")
    assert gone.pseudonym in listed
    assert "request 17" in listed
    assert "not yet" not in listed
    assert gone.customer not in listed


def test_no_file_holds_the_customer_in_its_bytes_or_its_tables(gone: Gone) -> None:
    """Looked for independently of the command's own search."""
    telling = ("email", "phone", "street")
    values = {gone.customer, *(str(gone.person[name]) for name in telling)}
    home = gone.bench.settings.shop_home
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 500
    assert [path for path in files if any(value.encode() in path.read_bytes() for value in values)] == []
    for path in home.rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        for name in table.column_names:
            if pa.types.is_string(table.schema.field(name).type):
                cells = table[name].unique().to_pylist()
                assert not any(value in cell for cell in cells if cell for value in values), (path, name)


def test_the_person_is_anonymous_and_the_totals_are_what_they_were(gone: Gone) -> None:
    rows = gone.lake.batches("published.dim_customers").read_all().to_pylist()
    versions = [row for row in rows if row["customer_id"] == gone.pseudonym]
    personal = ("email", "first_name", "last_name", "phone", "birth_date", "street", "postal_code")
    assert versions
    assert {row[name] for row in versions for name in personal} == {None}
    assert {row["city"] for row in versions} != {None}
    assert row_counts(gone.lake) == gone.rows
    now = content(gone.bench.settings, "published")
    assert {f"published.{mart}" for mart in NAMELESS} <= now.keys()
    assert [mart for mart in NAMELESS if now[f"published.{mart}"] != gone.marts[f"published.{mart}"]] == []


def test_the_event_log_knows_the_pseudonym_only(gone: Gone) -> None:
    events = [event for path in segments(gone.bench.settings.events_dir) for event in read(path).events]
    assert [event.get("customer_id") for event in events] == [gone.pseudonym, None]
    assert "v_of_the_phone" not in str(events)
    found = Register.of(gone.bench.settings).find(gone.customer)
    assert found is not None
    assert found.rows["event log"] == 1


def test_the_api_knows_the_pseudonym_only(gone: Gone) -> None:
    with TestClient(create_app(gone.bench.settings), base_url="http://localhost") as client:
        assert client.get(f"/v1/customers/{gone.customer}").status_code == 404
    assert api_features(gone.bench, gone.pseudonym) == gone.features


def test_an_earlier_release_does_not_bring_them_back(gone: Gone) -> None:
    store = open_store(gone.bench.settings)
    assert len(store.ids()) >= 2
    for release in store.ids():
        assert store.verify(release).release_id == release
        ids = open_customers(store.fetch(release) / CUSTOMERS)["customer_id"].to_pylist()
        assert gone.pseudonym in ids
        assert gone.customer not in ids
    titles = {json.loads((store.fetch(release) / SHOP).read_text())["title"] for release in store.ids()}
    assert titles == {"As it was", "A small simulated shop"}


def test_recommendations_of_earlier_dates_and_releases_are_the_pseudonyms(gone: Gone) -> None:
    lists = gone.lake.batches(LISTED).read_all()
    assert [(row["customer_id"], row["as_of_date"]) for row in lists.to_pylist()] == [(gone.pseudonym, EARLIER)]
    store = open_store(gone.bench.settings)
    released = [store.fetch(release) / RECOMMENDATIONS for release in store.ids()]
    (with_lists,) = [path for path in released if path.is_file()]
    ids = open_lists(with_lists, RECOMMENDATION_COLUMNS)["customer_id"].to_pylist()
    assert gone.pseudonym in ids
    assert gone.customer not in ids


def test_the_log_lost_its_line_only(gone: Gone) -> None:
    assert (gone.bench.settings.logs_dir / "some.log").read_text() == "one line\n[erased]\n"


def test_an_unknown_customer_is_told_near_ones_and_a_reason_names_nobody(gone: Gone) -> None:
    unknown = gone.bench.cartograph("erase", "--customer", "C0000001", "--reason", "request 18", expect=2)
    assert "has no customer 'C0000001'. The nearest: C0000000" in unknown
    refused = gone.bench.cartograph("erase", "--customer", "C00000003", "--reason", "of C00000003", expect=2)
    assert "--reason names the customer" in refused
    assert len(Register.of(gone.bench.settings).entries) == 1


@pytest.mark.parametrize("reason", [None, "x", "x" * 501, "of c00000003", "wrote from ADA@example.com"])
def test_a_reason_is_short_and_names_nobody(reason: str | None) -> None:
    with pytest.raises(ErasureError, match="--reason"):
        checked_reason(reason, ["C00000003"], ["ada@example.com", "53111"])
    assert checked_reason("request 17", ["C00000003"], ["ada@example.com"]) == "request 17"


@pytest.mark.parametrize(("status", "goes_on"), [(EXIT_FAILED, True), (EXIT_INTERRUPTED, False)])
def test_an_erasure_goes_on_after_a_failed_run_and_not_after_an_interrupted_one(
    gone: Gone, monkeypatch: pytest.MonkeyPatch, status: int, goes_on: bool
) -> None:
    def ends(**_asked: object) -> None:
        raise typer.Exit(status)

    monkeypatch.setattr("cartograph.cli.erase.run", ends)
    with nullcontext() if goes_on else pytest.raises(typer.Exit):
        make_anew(gone.bench.settings)


def test_what_is_put_back_is_found_and_the_command_fails(gone: Gone, tmp_path: Path) -> None:
    settings, put_back = gone.bench.settings, gone.bench.settings.shop_home / "old.parquet"
    pq.write_table(pa.table({"customer_id": ["C", gone.customer]}), put_back)
    subjects = begin(settings, [gone.customer], reason=None)
    found = search(settings, subjects)
    put_back.rename(tmp_path / "old.parquet")
    assert [hit.split(": ")[0] for hit in found.hits] == [str(put_back)]
    with pytest.raises(typer.Exit) as left:
        conclude(settings, subjects, found)
    assert left.value.exit_code == 1


def test_loading_the_same_rows_again_changes_nothing(gone: Gone) -> None:
    before = content(gone.bench.settings, "raw", "quarantine", "truth")
    gone.bench.cartograph("run", "--select", 'group:"raw" or group:"truth"')
    assert content(gone.bench.settings, "raw", "quarantine", "truth") == before
    again = gone.bench.cartograph("erase", "--customer", gone.customer)
    assert "was erased on" in again
    assert "absent from all" in again
    assert "totals as before" not in again, "nothing was changed, and so nothing compared"


def held_in(bench: Bench, customer: str) -> set[str]:
    """The folders of the shop that hold a customer's id, however it is written."""
    home, lake = bench.settings.shop_home, Lake.from_settings(bench.settings)
    lake.close_connections()
    hits = scan([home], Wanted(frozenset({customer})), lake.connect).hits
    return {Path(hit.split(": ")[0]).relative_to(home).parts[0] for hit in hits}


def test_an_id_of_any_letters_is_taken_out_of_what_was_loaded(tmp_path: Path) -> None:
    """In a shop that has loaded its rows and made nothing of them yet."""
    customer, bench = "Zoë Müller/ß-7 日本", Bench.with_corner_shop(tmp_path)
    shop = tmp_path / "docs" / "examples" / "corner_shop"
    people, sales = shop / "data/people.jsonl", shop / "data/sales/2024-01.csv"
    known = people.read_text("utf-8").replace('"7"', json.dumps(customer, ensure_ascii=False))
    people.write_text(known + known.splitlines()[0].replace("2024-01-02", "2024-13-02"), "utf-8")
    sales.write_text(sales.read_text("latin-1").replace(";7;", f";{customer};"), "utf-8")
    mapping = shop / "corner_shop.yaml"
    mapping.write_text(mapping.read_text().replace("encoding: latin-1", "encoding: utf-8"))
    (shop / "data/sales/2024-02.csv").unlink()
    bench.variables["CARTOGRAPH_QUARANTINE_LIMIT_PCT"] = "50"
    bench.cartograph("run", "--select", 'group:"raw"')
    append(bench.settings.events_dir, make_event("not loaded yet", customer_id=customer))
    (bench.settings.logs_dir / "some.log").write_text(f"one line\n{json.dumps({'row': customer})}\n", encoding="utf-8")
    lake, before = Lake.from_settings(bench.settings), held_in(bench, customer)

    printed = bench.cartograph("erase", "--customer", customer, "--reason", "request 19")
    assert "absent from all" in printed
    assert before == {"lake", "events", "logs"}
    assert held_in(bench, customer) == set()
    found = Register.of(bench.settings).find(customer)
    assert found is not None
    assert found.rows.keys() >= {"raw.customers", "raw.orders", "quarantine.customers", EVENT_LOG}
    for table in ("raw.customers", "raw.orders"):
        assert found.pseudonym in lake.batches(table).read_all()["customer_id"].to_pylist()
