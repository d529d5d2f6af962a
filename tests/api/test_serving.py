"""The service follows the pointer, and at no moment answers from two releases at once."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.refusals import Refusals, ReleaseAlerts
from api.services.serving import Serving
from cartograph.alerts.ledger import Ledger
from cartograph.releases import Manifest, ReleaseError, open_store
from cartograph.releases.contents.files import SHOP
from cartograph.settings import Settings
from tests.api.making import make_customers, make_effect, problem, publish, service
from tests.api.swapping import overwrite, point_to


def published(settings: Settings, version: str) -> Manifest:
    """A release in which the customer's segment and the effect's question are both `version`."""
    customers = make_customers(["C1"]).drop_columns("segment").append_column("segment", [[version]])
    return publish(settings, customers=customers, effects=(make_effect(question=version),))


def answers_until(ask: Callable[[], httpx.Response], wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    deadline = monotonic() + 20
    while not wanted(response := ask()):
        assert monotonic() < deadline, f"still {response.text}"
    return response


def test_a_first_release_a_new_one_and_a_rollback_are_picked_up(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with service(settings, poll_seconds=0.02) as client:
        problem(client.get("/ready"), 503, "no-release")
        first = published(settings, "first")
        answers_until(lambda: client.get("/ready"), lambda r: r.status_code == 200)
        second = published(settings, "second")
        answers_until(lambda: client.get("/ready"), lambda r: r.json()["release_id"] == second.release_id)
        assert client.get("/v1/customers/C1").json()["segment"] == "second"
        open_store(settings).rollback()
        answers_until(lambda: client.get("/ready"), lambda r: r.json()["release_id"] == first.release_id)
        assert client.get("/v1/causal/effects").json()["effects"][0]["question"] == "first"


def test_while_releases_change_every_answer_is_of_one_release_and_none_fails(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    made = {published(settings, "v0").release_id: "v0"}
    done = Event()
    with service(settings, poll_seconds=0.005) as client:

        def ask() -> set[tuple[str, str]]:
            seen = set()
            while not done.is_set():
                customer = client.get("/v1/customers/C1").raise_for_status().json()
                effects = client.get("/v1/causal/effects").raise_for_status().json()
                seen.add((customer["release_id"], customer["segment"]))
                seen.add((effects["release_id"], effects["effects"][0]["question"]))
            return seen

        with ThreadPoolExecutor(3) as askers:
            asking = [askers.submit(ask) for _ in range(3)]
            try:
                for number in range(1, 6):
                    release = published(settings, f"v{number}").release_id
                    made[release] = f"v{number}"
                    open_store(settings).prune(2)
                    answers_until(lambda: client.get("/ready"), lambda r, at=release: r.json()["release_id"] == at)
            finally:
                done.set()
            seen = set().union(*(future.result() for future in asking))
    assert seen <= set(made.items())
    assert len(seen) > 1


def test_a_new_release_that_cannot_be_served_leaves_the_old_one_and_says_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    good = published(settings, "good")
    with service(settings, poll_seconds=0.02) as client:
        bad = publish(settings, replaced={SHOP: b"{}"})
        ready = answers_until(lambda: client.get("/ready"), lambda r: r.json()["problem"] is not None)
        assert ready.json()["release_id"] == good.release_id
        assert bad.release_id in ready.json()["problem"]
        assert client.get("/v1/customers/C1").json()["segment"] == "good"
        open_store(settings).rollback()
        answers_until(lambda: client.get("/ready"), lambda r: r.json()["problem"] is None)


def test_an_unexpected_failure_is_logged_and_outlived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(home=tmp_path)
    release = published(settings, "good")
    store = open_store(settings)
    refusals = Refusals(settings.refused_releases_path, judge="a test")
    serving = Serving(store, refusals, ReleaseAlerts(settings), rehearse=lambda _: None, prepare=lambda _: None)
    with monkeypatch.context() as broken:
        broken.setattr(store, "current_id", lambda: 1 / 0)
        serving.refresh()
    assert serving.state.release is None
    assert "log says why" in (serving.state.problem or "")
    assert "ZeroDivisionError" in caplog.text
    serving.refresh()
    assert serving.state.problem is None
    assert serving.state.release is not None
    assert serving.state.release.manifest == release


@pytest.fixture(scope="module")
def two_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for version in ("first", "second"):
        published(Settings(home=home), version)
    return home


@given(
    st.lists(
        st.sampled_from(["look", "restart"])
        | st.tuples(st.sampled_from(["break", "mend", "point", "activate"]), st.integers(0, 1)),
        max_size=10,
    )
)
def test_the_alert_stands_as_long_as_the_current_release_is_not_served(
    two_releases: Path, steps: list[str | tuple[str, int]]
) -> None:
    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        shutil.copytree(two_releases, settings.home)
        releases = [settings.shop_home / "releases" / release for release in open_store(settings).ids()]
        whole = (releases[0] / SHOP).read_bytes(), (releases[1] / SHOP).read_bytes()
        serving = started(settings)
        for step in [*steps, "look"]:
            match step:
                case "look":
                    serving.refresh()
                case "restart":
                    serving = started(settings)
                case "break", place:
                    overwrite(releases[place] / SHOP, b"{}")
                case "mend", place:
                    overwrite(releases[place] / SHOP, whole[place])
                case "point", place:
                    point_to(settings, releases[place].name)
                case "activate", place:
                    with suppress(ReleaseError):
                        serving.activate(releases[place].name)
        told = [signal.text for signal in Ledger(settings.alerts_path).failing()]
    assert bool(told) == (serving.state.problem is not None), (told, serving.state.problem)


def started(settings: Settings) -> Serving:
    """What follows the releases in a process that has just started."""
    refusals = Refusals(settings.refused_releases_path, judge="a test")
    serving = Serving(
        open_store(settings), refusals, ReleaseAlerts(settings), rehearse=lambda _: None, prepare=lambda _: None
    )
    serving.refresh()
    return serving
