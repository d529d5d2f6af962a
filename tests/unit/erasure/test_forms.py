"""However a customer's id was written down, it is found and taken out: ids of any letters, in JSON, URLs, HTML, CSV."""

from __future__ import annotations

import csv
import html
import io
import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cartograph.erasure import Wanted, blank_texts, is_telling, scan

IDS = (
    "Käufer-Müller-1",
    'O\'Neil "Q" 77',
    "back\\slash77",
    "jörg.ü@example.com",
    "顧客番号一二三四",
    "smile😀4711",
    "a+b c/d=e",
)
NEIGHBOUR = "another customer"


def in_csv(text: str) -> str:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow([text])
    return written.getvalue()


def upper_hex(text: str) -> str:
    """JSON whose escapes have capital digits, as other writers make it."""
    return "\\u".join(part[:4].upper() + part[4:] if n else part for n, part in enumerate(text.split("\\u")))


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda text: json.dumps({"id": text}),
    "JSON in UTF-8": lambda text: json.dumps({"id": text}, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps({"event": json.dumps({"id": text})}),
    "JSON in JSON in UTF-8": lambda text: json.dumps({"event": json.dumps({"id": text})}, ensure_ascii=False),
    "JSON in JSON in JSON": lambda text: json.dumps([json.dumps([json.dumps([f"{text}, 1"])])]),
    "JSON with capital digits": lambda text: upper_hex(json.dumps({"id": text})),
    "a line in JSON": lambda text: json.dumps({"log": f"begun\n{text}\tended"}),
    "a path": lambda text: f"GET /v1/customers/{quote(text, safe='')} 200",
    "a path in a query": lambda text: f"GET /?next={quote(quote(f'/customers/{text}', safe=''), safe='')} 200",
    "a query": lambda text: f"GET /v1/customers?customer_id={quote_plus(text).lower()} 200",
    "HTML": lambda text: f"<td>{html.escape(text)}</td>",
    "HTML in ASCII": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
    "CSV": in_csv,
    "CSV in JSON": lambda text: json.dumps({"log": in_csv(text)}),
    "Python": lambda text: f"KeyError: {text!r}",
    "Python in ASCII": lambda text: f"KeyError: {text!a}",
    "bytes of Python": lambda text: f"KeyError: {text.encode()!r}",
}
ANY_ID = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1, max_size=12).filter(
    lambda text: "erased" not in text.casefold()
)  # which is what stands in its place


def held(folder: Path, written: str) -> None:
    """Keep the text in a log and in a row of a database, each with a neighbour that is to stay."""
    (folder / "some.log").write_text(f"{NEIGHBOUR}\n{written}\n", encoding="utf-8")
    with closing(sqlite3.connect(folder / "runs.db")) as connection:
        connection.execute("CREATE TABLE event_logs (event TEXT)")
        connection.executemany("INSERT INTO event_logs VALUES (?)", [(written,), (NEIGHBOUR,)])
        connection.commit()


def hits(folder: Path, wanted: Wanted) -> list[str]:
    return [Path(hit.split(": ")[0]).name for hit in scan([folder], wanted, duckdb.connect).hits]


def assert_found_and_taken_out(customer: str, written: str) -> None:
    wanted = Wanted(frozenset({customer}))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held(folder, written)
        assert hits(folder, wanted) == ["runs.db", "some.log"]
        assert list(blank_texts(folder, wanted, kept=[])) == ["runs.db", "some.log"]
        assert hits(folder, wanted) == []
        assert NEIGHBOUR in (folder / "some.log").read_text(encoding="utf-8") or "\n" in customer
        with closing(sqlite3.connect(folder / "runs.db")) as connection:
            assert connection.execute("SELECT event FROM event_logs").fetchall()[1] == (NEIGHBOUR,)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("customer", IDS)
def test_an_id_is_found_and_taken_out_in_each_form_and_in_the_columns_of_tables(customer: str, form: str) -> None:
    written = FORMS[form](customer)
    assert_found_and_taken_out(customer, written)
    pattern = Wanted(frozenset({customer})).pattern
    assert duckdb.execute("SELECT regexp_matches(?, ?)", [written, pattern]).fetchone() == (True,)


@given(customer=ANY_ID.filter(is_telling), form=st.sampled_from(sorted(FORMS)))
@settings(max_examples=100)
@example(customer="İstanbul ß", form="JSON in JSON")
def test_any_id_is_found_and_taken_out_in_any_form(customer: str, form: str) -> None:
    assert_found_and_taken_out(customer, FORMS[form](customer))


@given(customer=ANY_ID.filter(lambda text: not is_telling(text)))
@settings(max_examples=50)
@example(customer="12346")
@example(customer="ä'\"1")
def test_any_short_id_is_found_and_taken_out_where_it_is_said_to_be_a_customers(customer: str) -> None:
    event = {"customer_id": customer}
    assert_found_and_taken_out(customer, json.dumps([json.dumps({"row": json.dumps(event)})]))


@pytest.mark.parametrize("customer", ["KÄUFER-müller-1", "käufer-MÜLLER-1"])
def test_letters_count_in_whatever_case(customer: str) -> None:
    assert_found_and_taken_out("Käufer-Müller-1", json.dumps({"id": customer}))
    assert_found_and_taken_out("Käufer-Müller-1", f"of {customer}")


@pytest.mark.parametrize("innocent", ["Käufer-Müller-12", "xKäufer-Müller-1", "Kaufer-Muller-1", "K%C3%A4ufer-Müller"])
def test_what_only_resembles_an_id_stays(innocent: str, tmp_path: Path) -> None:
    held(tmp_path, json.dumps({"id": innocent}))
    assert hits(tmp_path, Wanted(frozenset({"Käufer-Müller-1"}))) == []
