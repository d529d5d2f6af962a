"""The places where messages go: a log file, a webhook, e-mail, an SNS topic. Each sends one message, or raises.

When and how often one is tried is `delivery`; what a sink is given in the file of alerts is `config`.
"""

from __future__ import annotations

import json
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from cartograph.alerts.messages import Message

TIMEOUT_SECONDS = 10
_WEBHOOK_BYTES, _EMAIL_BYTES, _SNS_BYTES = 15_000, 1_000_000, 250_000
"""Of a body: Mattermost shows 16,383 characters, Slack 40,000; SNS takes 262,144 bytes with subject and attributes."""
_MAY_PASS_LATER = {401, 403, 407, 408, 423, 425, 429}
"""Answers of the 400s to who asks too early, or must show anew who they are. Others refuse what was sent."""
_SNS_REFUSALS = {"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "ValidationError"}


class SinkError(RuntimeError):
    """A sink did not take a message. What it says holds no secret."""


class RefusedError(SinkError):
    """A sink did not take a message, and never will."""


class Sink(Protocol):
    """A place that takes messages."""

    def send(self, message: Message) -> None:
        """Send one message. Raises SinkError where it was not taken, RefusedError where it never will be."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogFile:
    """Appends each message as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: Message) -> None:
        """Append the message to the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = {"message_id": message.message_id, "title": message.title, **message.model_dump(mode="json")}
        try:
            with self._path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n")
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from None


class Webhook(_Config):
    """Posts `{"text": …}`, which Slack, Mattermost and others take, and the message's parts beside it."""

    type: Literal["webhook"]
    url: SecretStr

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("a webhook's url begins with https:// or http:// and names a host")
        return value

    def send(self, message: Message) -> None:
        """Post the message; the header `X-Cartograph-Message-Id` is the same for a repetition."""
        import httpx

        message = message.within(_WEBHOOK_BYTES)
        payload = {"text": f"*{message.title}*\n{message.body}", "cartograph": message.model_dump(mode="json")}
        headers = {"X-Cartograph-Message-Id": message.message_id}
        host = urlsplit(self.url.get_secret_value()).netloc.rpartition("@")[2]
        try:
            answer = httpx.post(self.url.get_secret_value(), json=payload, headers=headers, timeout=TIMEOUT_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = type(error).__name__  # its words may hold the address, which is a secret
            raise SinkError(f"the webhook at {host} cannot be reached ({reason}): is the address right?") from None
        if not answer.is_success:
            kind = RefusedError if answer.is_client_error and answer.status_code not in _MAY_PASS_LATER else SinkError
            raise kind(f"the webhook at {host} answered with status {answer.status_code}")


class Email(_Config):
    """Sends a plain-text e-mail by SMTP."""

    type: Literal["email"]
    host: str
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    recipients: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = Field(min_length=1)

    def send(self, message: Message) -> None:
        """Send the message; its `Message-ID` is the same for a repetition."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.title, self.sender, ", ".join(self.recipients)
        mail["Message-ID"] = f"<{message.message_id}@cartograph>"
        mail.set_content(message.within(_EMAIL_BYTES).body)
        try:
            with self._connection() as server:
                if self.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self.username is not None and self.password is not None:
                    server.login(self.username, self.password.get_secret_value())
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            is_final = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            kind = RefusedError if is_final else SinkError
            raise kind(f"{self.host}:{self.port} did not take the e-mail: {error or type(error).__name__}") from None

    def _connection(self) -> smtplib.SMTP:
        if self.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_SECONDS, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS)


class Sns(_Config):
    """Publishes to an AWS SNS topic, with the credentials that boto3 finds."""

    type: Literal["sns"]
    topic_arn: str = Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]+$")
    endpoint_url: str | None = None

    def send(self, message: Message) -> None:
        """Publish the message; its attributes tell owner and severity, for subscriptions that filter."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        settings = Config(
            connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1}
        )
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in (
                ("message_id", message.message_id),
                ("owner", message.owner),
                ("severity", message.severity),
            )
        }
        try:
            region = self.topic_arn.split(":")[3]
            client = boto3.client("sns", region_name=region, endpoint_url=self.endpoint_url, config=settings)
            client.publish(
                TopicArn=self.topic_arn,
                Subject=message.title[:100],
                Message=message.within(_SNS_BYTES).body,
                MessageAttributes=attributes,
            )
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            kind = RefusedError if code in _SNS_REFUSALS else SinkError
            raise kind(f"{self.topic_arn} did not take the message: {error}") from None


AnySink = Annotated[Webhook | Email | Sns, Field(discriminator="type")]
