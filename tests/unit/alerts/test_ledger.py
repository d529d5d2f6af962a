"""What is told: each failure once, each recovery once, whatever the order and however often it is looked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cartograph.alerts.ledger import CLAIM, FIRST_WAIT, LONGEST_WAIT, Due, Ledger
from cartograph.alerts.messages import Message, Severity, Signal
from tests.unit.alerts.making import MOMENT, make_signal


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "home" / "alerts.db")


def to_both(message: Message) -> Iterable[str]:
    del message
    return ("log", "chat")


def record(ledger: Ledger, *signals: Signal) -> list[str]:
    """Titles of the messages that follow from the signals."""
    return [message.title for message in ledger.record("warehouse", signals, {"checks": "1"}, to_both)]


def claimed(ledger: Ledger, now: datetime) -> list[Due]:
    """All that a process may send now."""
    return list(iter(lambda: ledger.claim(now), None))


def test_a_failure_is_told_once_while_it_lasts_and_its_end_once(ledger: Ledger) -> None:
    failed, again = make_signal(), make_signal(minute=1, run_id="run-2")
    well, still_well = (make_signal(minute=m, healthy=True, run_id=f"run-{m}") for m in (3, 4))
    assert record(ledger, failed) == ["Error: published/fct_orders (rows_match_mart)"]
    assert record(ledger, again) == []
    assert ledger.failing() == [failed.model_copy(update={"told": "error"})]
    assert record(ledger, well) == ["Recovered: published/fct_orders (rows_match_mart)"]
    assert record(ledger, still_well) == []
    assert ledger.failing() == []
    assert len(record(ledger, make_signal(minute=5, run_id="run-5"))) == 1


def test_what_is_closed_by_hand_is_over_without_a_word_and_told_anew_when_it_is_found_again(ledger: Ledger) -> None:
    gone, stays = make_signal("a", subject="models/gone"), make_signal("a")
    record(ledger, gone, make_signal("b", subject="models/gone"), stays)
    assert [signal.name for signal in ledger.close("models/gone")] == ["a", "b"]
    assert ledger.failing() == [stays.model_copy(update={"told": "error"})]
    assert ledger.close("models/gone") == []
    assert record(ledger, gone) == ["Error: models/gone (a)"]


def test_what_was_always_well_is_not_told(ledger: Ledger) -> None:
    assert record(ledger, make_signal(healthy=True)) == []


def test_a_warning_that_becomes_an_error_is_told_again_and_not_the_other_way(ledger: Ledger) -> None:
    warned, failed = make_signal(severity="warning"), make_signal(minute=1, run_id="run-2")
    assert record(ledger, warned) == ["Warning: published/fct_orders (rows_match_mart)"]
    assert record(ledger, failed) == ["Error: published/fct_orders (rows_match_mart)"]
    assert record(ledger, make_signal(minute=2, severity="warning", run_id="run-3")) == []


@pytest.mark.parametrize("told", [["error"], ["warning"], ["warning", "error"], ["error", "warning"]])
def test_who_heard_of_a_failure_hears_of_its_end(ledger: Ledger, told: list[Severity]) -> None:
    """Whatever the severity of the result that passes is: a route may ask for errors only."""
    for minute, severity in enumerate(told):
        ledger.record("warehouse", [make_signal(minute=minute, severity=severity)], {}, to_both)
    well = make_signal(minute=9, healthy=True, severity="warning", run_id="run-9")
    (over,) = ledger.record("warehouse", [well], {}, to_both)
    assert over.severity == ("error" if "error" in told else "warning")


def test_what_is_well_as_a_whole_ends_the_failure_of_its_parts(ledger: Ledger) -> None:
    def run(subject: str, *parts: str, minute: int, healthy: bool = False) -> Signal:
        return make_signal("run", subject=subject, parts=parts, minute=minute, healthy=healthy, only_of_parts=True)

    record(ledger, run("a run of a and 1 more", "a", "b", minute=0), run("nightly_job", minute=1))
    assert record(ledger, run("a run of a", "a", minute=2, healthy=True)) == []
    assert record(ledger, run("a run of b and 1 more", "b", "c", minute=3, healthy=True)) == [
        "Recovered: a run of a and 1 more (run)"
    ]
    assert [signal.subject for signal in ledger.failing()] == ["nightly_job"]
    assert len(record(ledger, run("nightly_job", "a", "b", "c", minute=4, healthy=True))) == 1
    assert ledger.failing() == []


def test_a_run_that_fails_says_nothing_of_what_another_one_left(ledger: Ledger) -> None:
    def run(part: str, minute: int, healthy: bool = False) -> list[str]:
        signal = make_signal("run", parts=(part,), minute=minute, healthy=healthy, only_of_parts=True)
        return [title.split(":")[0] for title in record(ledger, signal)]

    assert [run("June", 0), run("May", 1), run("June", 2)] == [["Error"], ["Error"], []]
    assert [run("May", 3, healthy=True), run("May", 4), run("June", 5, healthy=True)] == [[], ["Error"], []]
    assert run("May", 6, healthy=True) == ["Recovered"]


def test_a_ledger_from_before_there_were_spans_is_read() -> None:
    text = (
        make_signal(parts=("raw/orders",))
        .model_dump_json()
        .replace('{"name":"raw/orders","span":null}', '"raw/orders"')
    )
    assert '"parts":["raw/orders"]' in text
    assert Signal.model_validate_json(text) == make_signal(parts=("raw/orders",))


def test_a_further_part_is_told_and_fewer_parts_are_kept_without_a_word(ledger: Ledger) -> None:
    def failed(minute: int, *parts: str) -> Signal:
        return make_signal(minute=minute, parts=parts, text=f"failed: {', '.join(parts)}")

    title = ["Error: published/fct_orders (rows_match_mart)"]
    assert record(ledger, failed(0, "June")) == title
    assert record(ledger, failed(1, "June", "July")) == title
    assert record(ledger, failed(2, "July")) == []
    (known,) = ledger.failing()
    assert (known.text, known.at) == ("failed: July", MOMENT + timedelta(minutes=1))
    assert record(ledger, failed(3, "July")) == []
    assert record(ledger, failed(4, "June", "July")) == title, "June was well in between"


def test_a_run_tells_of_an_asset_in_one_message(ledger: Ledger) -> None:
    signals = [make_signal("a"), make_signal("b", severity="warning"), make_signal("c", subject="raw/orders")]
    assert record(ledger, *signals) == ["Error: published/fct_orders (a, b)", "Error: raw/orders (c)"]
    (first, *_) = claimed(ledger, MOMENT)
    assert first.message.body.splitlines()[:2] == [
        "failing: a: expected 100 rows, found 90",
        "failing: b: expected 100 rows, found 90",
    ]
    assert first.message.body.endswith(
        "what to do: docs/runbook.md#a-test-of-the-warehouse in the repository of Cartograph"
    )


def test_what_came_and_went_between_two_looks_is_told_as_both(ledger: Ledger) -> None:
    titles = record(ledger, make_signal(), make_signal(minute=1, healthy=True, run_id="run-2"))
    assert titles == [
        "Error: published/fct_orders (rows_match_mart)",
        "Recovered: published/fct_orders (rows_match_mart)",
    ]
    assert ledger.failing() == []


def test_a_restart_forgets_nothing(ledger: Ledger, tmp_path: Path) -> None:
    record(ledger, make_signal())
    again = Ledger(tmp_path / "home" / "alerts.db")
    assert again.positions("warehouse") == {"checks": "1"}
    assert again.positions("ml") == {}
    assert record(again, make_signal(minute=1)) == []
    assert {due.sink for due in claimed(again, MOMENT)} == {"log", "chat"}


def test_what_cannot_be_recorded_whole_is_not_recorded_at_all(ledger: Ledger) -> None:
    def broken(message: Message) -> Iterable[str]:
        raise RuntimeError(message.title)

    with pytest.raises(RuntimeError):
        ledger.record("warehouse", [make_signal()], {"checks": "1"}, broken)
    assert ledger.failing() == []
    assert ledger.positions("warehouse") == {}
    assert len(record(ledger, make_signal())) == 1


def test_a_message_is_sent_to_each_sink_by_one_process(ledger: Ledger) -> None:
    record(ledger, make_signal())
    due = claimed(ledger, MOMENT)
    assert [one.sink for one in due] == ["log", "chat"]
    assert claimed(ledger, MOMENT + CLAIM - timedelta(seconds=1)) == [], "another process is about to send them"
    ledger.sent(due[0], MOMENT)
    assert [one.sink for one in claimed(ledger, MOMENT + CLAIM)] == ["chat"], "the process that claimed it was killed"


def test_a_sink_gets_its_messages_in_their_order(ledger: Ledger) -> None:
    record(ledger, make_signal(), make_signal("other", minute=1, run_id="run-2"))
    first = {due.sink: due for due in claimed(ledger, MOMENT)}
    assert first.keys() == {"log", "chat"}, "the second message waits for the first"
    ledger.sent(first["log"], MOMENT)
    (second,) = claimed(ledger, MOMENT)
    assert (second.sink, second.message.title) == ("log", "Error: published/fct_orders (other)")


def test_a_sink_that_fails_is_left_alone_longer_and_longer(ledger: Ledger) -> None:
    record(ledger, make_signal(), make_signal("other", minute=1, run_id="run-2"))
    now, second = MOMENT, timedelta(seconds=1)
    for attempt in range(15):
        (due,) = [one for one in claimed(ledger, now) if one.sink == "chat"]
        ledger.failed(due, "refused", now)
        wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
        assert [one for one in claimed(ledger, now + wait - second) if one.sink == "chat"] == []
        now += wait
    record(ledger, make_signal("third", minute=2, run_id="run-3"))
    assert [one for one in claimed(ledger, now - second) if one.sink == "chat"] == [], "what is new waits, too"
    assert ledger.unsent()[0] == ("chat", 3, "refused")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=25), st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_however_the_looks_fall_each_change_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, bool]], at_once: int
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "alerts.db")
    signals = [
        make_signal(name, minute=minute, healthy=healthy, run_id=f"run-{minute}")
        for minute, (name, healthy) in enumerate(history)
    ]
    titles = [t for start in range(0, len(signals), at_once) for t in record(ledger, *signals[start : start + at_once])]
    expected, well = [], {"a": True, "b": True}
    for name, healthy in history:
        if healthy != well[name]:
            expected.append(f"{'Recovered' if healthy else 'Error'}: published/fct_orders ({name})")
        well[name] = healthy
    assert titles == expected
