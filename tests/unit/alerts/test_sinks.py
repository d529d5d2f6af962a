"""Each sink against a real endpoint on this machine, and what is said where it does not answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from email.message import Message as Mail
from pathlib import Path

import boto3
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MailHandler
from aiosmtpd.smtp import SMTP, Envelope, Session
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from cartograph.alerts import delivery
from cartograph.alerts.delivery import Failures, deliver
from cartograph.alerts.ledger import CLAIM, FIRST_WAIT, Ledger
from cartograph.alerts.messages import Message
from cartograph.alerts.sinks import Email, LogFile, RefusedError, Sink, SinkError, Sns, Webhook
from cartograph.cli.alerts import list_alerts, resend
from cartograph.settings import load_settings
from tests.support.receiver import Receiver, receiving
from tests.unit.alerts.making import MOMENT, make_message, make_signal

NOTHING = Failures({}, [])
CLOSED = "http://127.0.0.1:9/"
"""The discard port, on which nothing listens."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Mailbox(MailHandler):
    """Keeps the mails that an SMTP server takes."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Mail] = []
        self.refusal = ""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        return self.refusal or await super().handle_DATA(server, session, envelope)

    def handle_message(self, message: Mail) -> None:
        self.mails.append(message)


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


def webhook(url: str) -> Webhook:
    return Webhook(type="webhook", url=SecretStr(url))


def email(port: int) -> Email:
    return Email(
        type="email",
        host="127.0.0.1",
        port=port,
        security="none",
        sender="cartograph@example.com",
        recipients=("on-call@example.com", "lead@example.com"),
    )


def test_a_webhook_is_sent_what_slack_shows_and_the_parts_beside_it(receiver: Receiver) -> None:
    message = make_message()
    webhook(receiver.url).send(message)
    headers, body = receiver.received.get(timeout=10)
    assert body["text"].startswith(
        "*Error: published/fct_orders (rows_match_mart)*\nfailing: rows_match_mart: expected"
    )
    assert body["cartograph"]["owner"] == "team:data-platform"
    assert headers["X-Cartograph-Message-Id"] == message.message_id


def test_a_webhook_that_refuses_or_is_away_is_told_without_its_secret(receiver: Receiver) -> None:
    receiver.status = 500
    with pytest.raises(SinkError, match="status 500") as refused:
        webhook(receiver.url).send(make_message())
    with pytest.raises(SinkError, match="cannot be reached") as away:
        webhook(f"{CLOSED}secret-token").send(make_message())
    assert "secret" not in f"{refused.value}{away.value}"


def test_an_email_reaches_all_recipients(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    message = make_message()
    email(port).send(message)
    (mail,) = box.mails
    assert (mail["Subject"], mail["To"]) == (message.title, "on-call@example.com, lead@example.com")
    assert mail["Message-ID"] == f"<{message.message_id}@cartograph>"
    assert mail.get_payload().strip().replace("\r\n", "\n") == message.body


def test_a_mail_server_that_is_away_is_told() -> None:
    with pytest.raises(SinkError, match=r"127\.0\.0\.1:9 did not take the e-mail"):
        email(9).send(make_message())


def test_a_mail_server_without_encryption_is_refused_unless_that_is_asked_for(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    with pytest.raises(SinkError, match="STARTTLS extension not supported"):
        email(port).model_copy(update={"security": "starttls"}).send(make_message())
    assert box.mails == []


def test_a_topic_takes_the_message_with_attributes_to_filter_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-a-test")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        places = {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-central-1"}
        sns, sqs = boto3.client("sns", **places), boto3.client("sqs", **places)
        topic = sns.create_topic(Name="alerts")["TopicArn"]
        queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        message = make_message()
        Sns(type="sns", topic_arn=topic, endpoint_url=places["endpoint_url"]).send(message)
        (taken,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        told = json.loads(taken["Body"])
        assert (told["Subject"], told["Message"]) == (message.title, message.body)
        Sns(type="sns", topic_arn=topic, endpoint_url=places["endpoint_url"]).send(make_message(text=LONG))
        too_long = make_message().model_copy(update={"owner": "x" * 300_000, "failing": ()})
        with pytest.raises(RefusedError, match="InvalidParameter"):
            Sns(type="sns", topic_arn=topic, endpoint_url=places["endpoint_url"]).send(too_long)
        assert {name: value["Value"] for name, value in told["MessageAttributes"].items()} == {
            "message_id": message.message_id, "owner": "team:data-platform", "severity": "error",
        }  # fmt: skip
    finally:
        server.stop()
    with pytest.raises(SinkError, match="did not take the message"):
        Sns(type="sns", topic_arn=topic, endpoint_url=places["endpoint_url"]).send(make_message())


def test_the_log_has_a_line_for_each_message(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "alerts.jsonl")
    for name in ("a", "b"):
        log.send(make_message(name=name))
    lines = [json.loads(line) for line in (tmp_path / "logs" / "alerts.jsonl").read_text().splitlines()]
    assert [line["title"] for line in lines] == ["Error: published/fct_orders (a)", "Error: published/fct_orders (b)"]


def test_a_dead_sink_is_tried_again_later_and_keeps_no_other_waiting(tmp_path: Path, receiver: Receiver) -> None:
    ledger = Ledger(tmp_path / "alerts.db")
    sinks = {"dead": webhook(receiver.url), "log": LogFile(tmp_path / "alerts.jsonl")}
    signals = [make_signal("a"), make_signal("b", minute=1, run_id="run-2")]
    ledger.record("warehouse", signals, {}, lambda _: sinks)
    receiver.status = 503
    (reason,) = deliver(ledger, sinks, lambda: MOMENT).waiting.values()
    assert reason.endswith("answered with status 503")
    assert receiver.received.qsize() == 1, "the second message for it waits, too"
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 2
    assert deliver(ledger, sinks, lambda: MOMENT) == NOTHING, "it is left alone for a while"

    receiver.status = 200
    assert deliver(ledger, sinks, lambda: MOMENT + FIRST_WAIT) == NOTHING
    posted = [receiver.received.get(timeout=10).body for _ in range(3)]
    assert [body["cartograph"]["failing"][0]["name"] for body in posted] == ["a", "a", "b"]
    assert ledger.unsent() == []
    assert deliver(ledger, sinks, lambda: MOMENT + 100 * FIRST_WAIT) == NOTHING
    assert receiver.received.empty(), "nothing is sent twice"


@pytest.mark.parametrize(
    "broken",
    [
        webhook("http://a..b/secret"),
        Email(type="email", host="smtp..secret", sender="a@b", recipients=("c@d",)),
        Sns(type="sns", topic_arn="arn:aws:sns:eu-central-1:123456789012:alerts", endpoint_url="secret"),
    ],
    ids=["webhook", "email", "sns"],
)
def test_a_sink_with_an_impossible_address_keeps_no_other_waiting(broken: Sink, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "alerts.db")
    sinks = {"broken": broken, "log": LogFile(tmp_path / "alerts.jsonl")}
    ledger.record("warehouse", [make_signal("a"), make_signal("b", minute=1, run_id="run-2")], {}, lambda _: sinks)
    (reason,) = deliver(ledger, sinks, lambda: MOMENT).waiting.values()
    assert "look at its address" in reason
    assert "secret" not in reason
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 2


class Dripping(LogFile):
    """Answers bit by bit, and never ends, until somebody ends it."""

    def send(self, message: Message) -> None:  # noqa: ARG002 - nor does it read it
        ENDED.wait(60)


ENDED = threading.Event()


def test_a_sink_whose_answer_never_ends_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DEADLINE_SECONDS", 0.05)
    ledger = Ledger(tmp_path / "alerts.db")
    sinks = {"drips": Dripping(tmp_path / "never"), "log": LogFile(tmp_path / "alerts.jsonl")}
    ledger.record("warehouse", [make_signal("a")], {}, lambda _: sinks)
    try:
        assert deliver(ledger, sinks, lambda: MOMENT).waiting == {
            "drips": "it has not taken the message within 0.05 seconds"
        }
    finally:
        ENDED.set()
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 1


def test_a_slow_sink_gets_each_message_once_in_order_while_another_process_delivers_too(tmp_path: Path) -> None:
    """Twenty messages at eight seconds each take longer than a claim lasts."""
    ledger, other = Ledger(tmp_path / "alerts.db"), Ledger(tmp_path / "alerts.db")
    now, taken, inner = MOMENT, list[str](), list[str]()

    class Slow:
        def send(self, message: Message) -> None:
            nonlocal now
            now += timedelta(seconds=8)
            inner.extend(due.message.title for due in [other.claim(now)] if due)
            taken.append(message.title)

    signals = [make_signal(f"check_{number:02d}", run_id=f"run-{number}") for number in range(20)]
    ledger.record("warehouse", signals, {}, lambda _: ["slow"])
    assert deliver(ledger, {"slow": Slow()}, lambda: now) == NOTHING
    assert taken == [f"Error: published/fct_orders (check_{number:02d})" for number in range(20)]
    assert inner == []
    assert now - MOMENT > CLAIM


LONG = "ä€ cannot be read; " * 30_000
"""720 KB."""


@pytest.mark.parametrize("limit", [2_000, 15_000, 250_000])
def test_a_message_is_cut_to_a_limit_and_says_so_and_what_to_do(limit: int) -> None:
    message = make_message(text=LONG)
    cut = message.within(limit).body
    assert limit - 200 < len(cut.encode()) <= limit
    assert "more characters: the whole is in alerts.jsonl" in cut
    assert cut.splitlines()[1:] == message.body.splitlines()[1:], "owner, run and what to do are whole"
    assert make_message().within(limit) == make_message()


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_message_that_is_refused_for_good_keeps_none_behind_it_waiting(
    status: int,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    ledger = Ledger(load_settings().alerts_path)
    sinks = {"chat": webhook(receiver.url)}
    ledger.record("warehouse", [make_signal("a", text=LONG)], {}, lambda _: sinks)
    receiver.status = status
    found = deliver(ledger, sinks, lambda: MOMENT)
    assert found.waiting == {}
    assert [reason.split(":")[:2] for reason in found.refused] == [["Error", " published/fct_orders (a)"]]
    assert len(receiver.received.get(timeout=10).body["text"].encode()) < 16_000
    receiver.status = 200
    ledger.record("warehouse", [make_signal("b", minute=1, run_id="run-2")], {}, lambda _: sinks)
    assert deliver(ledger, sinks, lambda: MOMENT) == NOTHING
    assert receiver.received.get(timeout=10).body["cartograph"]["failing"][0]["name"] == "b"
    (refusal,) = ledger.refusals()
    assert (refusal.sink, refusal.messages, refusal.title) == ("chat", 1, "Error: published/fct_orders (a)")
    assert refusal.reason.endswith(f"answered with status {status}")
    assert ledger.unsent() == []
    list_alerts()
    assert "1 by chat, which are in alerts.jsonl" in " ".join("".join(capsys.readouterr()).split())
    resend()
    assert "1 message for chat waits to be sent" in capsys.readouterr().out
    assert deliver(ledger, sinks, lambda: MOMENT) == NOTHING
    assert receiver.received.get(timeout=10).body["cartograph"]["failing"][0]["name"] == "a"
    assert (ledger.refusals(), ledger.unsent()) == ([], [])
    resend()
    assert "Nothing was refused." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "is_final"),
    [("552 Message size exceeds fixed limit", True), ("554 Transaction failed", True), ("451 Try again later", False)],
)
def test_a_mail_is_refused_for_good_where_its_server_says_so(
    answer: str, is_final: bool, mailbox: tuple[Mailbox, int], tmp_path: Path
) -> None:
    box, port = mailbox
    box.refusal = answer
    ledger, sinks = Ledger(tmp_path / "alerts.db"), {"mail": email(port)}
    ledger.record("warehouse", [make_signal("a")], {}, lambda _: sinks)
    found = deliver(ledger, sinks, lambda: MOMENT)
    assert (len(found.refused), list(found.waiting)) == ((1, []) if is_final else (0, ["mail"]))
    assert [one.messages for one in (ledger.refusals() if is_final else ledger.unsent())] == [1]
    assert box.mails == []


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500])
def test_an_answer_that_may_be_another_one_later_is_no_refusal(status: int, receiver: Receiver) -> None:
    receiver.status = status
    with pytest.raises(SinkError) as found:
        webhook(receiver.url).send(make_message())
    assert not isinstance(found.value, RefusedError)
