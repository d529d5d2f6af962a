"""Sessions and what is made of them on a tiny lake: window after window gives what a rebuild of everything gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from cartograph.lake import Lake
from cartograph.settings import Settings, get_settings
from cartograph.windows import Window
from tests.support.dbt import build
from tests.unit.warehouse.making import append, at, make_customer, make_line, make_order, make_product, tiny_shop

MARTS = (
    "fct_events",
    "fct_sessions",
    "conversion_funnel",
    "category_funnel",
    "order_touches",
    "abandoned_touches",
    "channel_attribution",
)
JANUARY = Window(at("2024-01-01"), at("2024-02-01"))
FEBRUARY = Window(at("2024-02-01"), at("2024-03-01"))
MARCH = Window(at("2024-03-01"), at("2024-04-01"))
MONTHS = (JANUARY, FEBRUARY, MARCH)
BOT_DAYS = ("2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03")


@dataclass(frozen=True)
class TinyShop:
    settings: Settings
    lake: Lake

    def build(self, window: Window | None = None, *, anew: bool = False, tested: bool = False) -> None:
        """Build the facts of `window` (None: of all time), `anew` from nothing, and all that is made of them."""
        flags = ["--full-refresh"] if anew else []
        kinds = ["model", "seed", *(["test"] if tested else [])]
        chosen = ["--select", " ".join(f"+{mart}" for mart in MARTS), "--indirect-selection", "cautious"]
        build(self.settings, *chosen, *(f"--resource-type={kind}" for kind in kinds), *flags, window=window)

    def content(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of the marts, sorted."""
        with duckdb.connect(self.settings.warehouse_path, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return {mart: connection.execute(f"SELECT * FROM marts.{mart} ORDER BY ALL").fetchall() for mart in MARTS}

    def sessions(self, visitor: str) -> list[tuple[object, ...]]:
        """Begin, end and number of events of a visitor's sessions."""
        with duckdb.connect(self.settings.warehouse_path, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(
                """
                SELECT strftime(started_at, '%m-%d %H:%M'), strftime(ended_at, '%m-%d %H:%M'), event_count
                FROM marts.fct_sessions WHERE visitor_id = ? ORDER BY started_at
                """,
                [visitor],
            ).fetchall()


def make_event(event_id: str, occurred_at: str | datetime, **changes: Any) -> dict[str, Any]:
    moment = at(occurred_at) if isinstance(occurred_at, str) else occurred_at
    return {
        "event_id": event_id,
        "occurred_at": moment,
        "received_at": moment,
        "event_type": "page_view",
        "visitor_id": "v1",
        "device": "mobile",
        "channel": "search",
        **changes,
    }


def bot_events(first: str, last: str) -> list[dict[str, Any]]:
    """An event each 20 minutes."""
    begin, steps = at(first), (at(last) - at(first)) // timedelta(minutes=20)
    moments = [begin + number * timedelta(minutes=20) for number in range(steps)]
    return [make_event(f"bot-{moment:%d-%H-%M}", moment, visitor_id="bot", channel="direct") for moment in moments]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyShop]:
    """A shop without events yet; one home for all tests, so that dbt parses once."""
    settings = tiny_shop(tmp_path_factory.mktemp("shop"), "events", "marketing_spend")
    lake = Lake.from_settings(settings)
    append(lake, "customers", make_customer())
    append(lake, "products", make_product(category="toys"))
    append(lake, "orders", make_order("o1", "2024-02-01 00:25:00"), make_order("o2", "2024-03-02 10:00:00"))
    append(lake, "order_items", make_line("o1", "2024-02-01 00:25:00"), make_line("o2", "2024-03-02 10:00:00"))
    spend = {"campaign_id": "k1", "channel": "search", "spend_amount": 5}
    append(lake, "marketing_spend", *({"spend_date": at(day).date(), **spend} for day in ("2024-01-31", "2024-02-01")))
    append(lake, "events", make_event("first", "2024-01-01"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("home", "shop", "shops_dir"):
            patch.setenv(f"CARTOGRAPH_{name.upper()}", str(getattr(settings, name)))
        get_settings.cache_clear()
        yield TinyShop(settings, lake)
    get_settings.cache_clear()


@pytest.fixture
def shop(home: TinyShop) -> TinyShop:
    """No warehouse; in the lake a session across a month's border, a bot over five days, and two halves of a visit."""
    home.settings.warehouse_path.unlink(missing_ok=True)
    with home.lake.overwriting("raw.events", None):
        pass
    append(
        home.lake,
        "events",
        make_event("border-1", "2024-01-31 23:45:00"),
        make_event("border-2", "2024-02-01 00:10:00", event_type="product_view", product_id="p1"),
        make_event("border-3", "2024-02-01 00:25:00", event_type="purchase", order_id="o1", customer_id="c1"),
        make_event("mail", "2024-02-01 00:12:00", event_type="email_sent", customer_id="c1", campaign_id="k1"),
        make_event("half-1", "2024-02-29 23:40:00", visitor_id="v2", channel="email"),
        make_event("half-2", "2024-03-01 00:20:00", visitor_id="v2", event_type="product_view", product_id="p1"),
        make_event("half-3", "2024-03-01 00:45:00", visitor_id="v2", event_type="add_to_cart", product_id="p1"),
        make_event("later", "2024-03-02 10:00:00", event_type="purchase", order_id="o2", customer_id="c1"),
        *bot_events("2024-01-30 15:00", "2024-02-03 12:00"),
    )
    return home


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=["in order", "last month first"])
def test_window_after_window_gives_what_a_rebuild_of_everything_gives(shop: TinyShop, order: tuple[int, ...]) -> None:
    for number in order:
        shop.build(MONTHS[number], tested=number == order[-1])
    by_window = shop.content()
    shop.build(anew=True)
    assert by_window == shop.content()
    assert all(by_window.values())

    assert shop.sessions("v1") == [("01-31 23:45", "02-01 00:25", 3), ("03-02 10:00", "03-02 10:00", 1)]
    assert shop.sessions("v2") == [("02-29 23:40", "02-29 23:40", 1), ("03-01 00:20", "03-01 00:45", 2)]
    # The 30th is not whole, so the first session lasts to the end of the 31st; then each whole day is one.
    assert shop.sessions("bot") == [
        ("01-30 15:00", "01-31 23:40", 99),
        ("02-01 00:00", "02-01 23:40", 72),
        ("02-02 00:00", "02-02 23:40", 72),
        ("02-03 00:00", "02-03 11:40", 36),
    ]


def test_a_late_event_joins_the_sessions_on_both_sides_of_a_border(shop: TinyShop) -> None:
    """It belongs to February alone, and so does the run that brings it; March's sessions follow."""
    shop.build()
    append(shop.lake, "events", make_event("late", "2024-02-29 23:55:00", visitor_id="v2"))
    shop.build(FEBRUARY)
    assert shop.sessions("v2") == [("02-29 23:40", "03-01 00:45", 4)]
    by_window = shop.content()
    shop.build(anew=True)
    assert by_window == shop.content()


def test_what_a_late_event_makes_a_whole_day_of_ends_with_it(shop: TinyShop) -> None:
    """An hour without the bot begins its second session; what fills it later moves all borders that follow."""
    with shop.lake.overwriting("raw.events", FEBRUARY):
        pass
    rest, gone = bot_events("2024-02-01 00:00", "2024-02-03 12:00"), bot_events("2024-02-01 00:00", "2024-02-01 01:00")
    missing = {event["event_id"] for event in gone}
    append(shop.lake, "events", *(event for event in rest if event["event_id"] not in missing))
    shop.build()
    assert shop.sessions("bot") == [
        ("01-30 15:00", "01-31 23:40", 99),
        ("02-01 01:00", "02-02 23:40", 141),
        ("02-03 00:00", "02-03 11:40", 36),
    ]
    append(shop.lake, "events", *gone)
    shop.build(FEBRUARY)
    by_window = shop.content()
    assert [begin for begin, _, _ in shop.sessions("bot")] == [
        f"{day[5:]} {hour}" for day, hour in zip(BOT_DAYS, ["15:00", *["00:00"] * 4], strict=True) if day != BOT_DAYS[1]
    ]
    shop.build(anew=True)
    assert by_window == shop.content()


def test_an_event_that_is_gone_parts_its_session_again(shop: TinyShop) -> None:
    """January's last event was wrong: the session that it began, in February, begins with the next one."""
    shop.build()
    with shop.lake.overwriting("raw.events", JANUARY):
        pass
    shop.build(JANUARY)
    assert shop.sessions("v1")[0] == ("02-01 00:10", "02-01 00:25", 2)
    assert shop.sessions("bot")[0] == ("02-01 00:00", "02-02 23:40", 144)
    by_window = shop.content()
    shop.build(anew=True)
    assert by_window == shop.content()
