"""Column lineage of the selects in a shop's file."""

import pytest

from ecom_assets.lineage import select_origins

SALES = {"sales": ("InvoiceNo", "Quantity", "UnitPrice", "_file")}


@pytest.mark.parametrize(
    ("select", "column", "origins"),
    [
        ("SELECT InvoiceNo AS order_id FROM sales", "order_id", (("sales", "InvoiceNo"),)),
        ("SELECT invoiceno AS order_id FROM Sales", "order_id", (("sales", "InvoiceNo"),)),
        ("SELECT Quantity * UnitPrice AS t FROM sales", "t", (("sales", "Quantity"), ("sales", "UnitPrice"))),
        ("SELECT 'completed' AS status FROM sales", "status", ()),
        ("SELECT InvoiceNo, count(*) AS lines FROM sales WHERE Quantity > 0 GROUP BY InvoiceNo", "lines", ()),
        ("SELECT count(*) FILTER (WHERE Quantity > 5) AS n FROM sales", "n", (("sales", "Quantity"),)),
        ("SELECT count(Quantity) AS n FROM sales", "n", (("sales", "Quantity"),)),
        ("SELECT * EXCLUDE (_file) FROM sales", "unitprice", (("sales", "UnitPrice"),)),
        ("WITH one AS (SELECT InvoiceNo AS i FROM sales) SELECT i AS order_id FROM one", "order_id",
         (("sales", "InvoiceNo"),)),
        ("SELECT id FROM lines", "id", (("sales", "InvoiceNo"),)),
        ("SELECT id FROM long_lines", "id", (("sales", "InvoiceNo"),)),
        ("SELECT min(_file) OVER (PARTITION BY InvoiceNo) AS f FROM sales", "f",
         (("sales", "InvoiceNo"), ("sales", "_file"))),
        ("SELECT a.InvoiceNo AS x, b.name AS n FROM sales a JOIN names b USING (InvoiceNo)", "n", (("names", "name"),)),
    ],
)  # fmt: skip
def test_columns_are_followed_to_the_files(select: str, column: str, origins: tuple[tuple[str, str], ...]) -> None:
    tables = {**SALES, "names": ("InvoiceNo", "name")}
    views = {"lines": "SELECT InvoiceNo AS id FROM sales", "long_lines": "SELECT id FROM lines WHERE length(id) > 6"}
    assert select_origins(select, views, tables)[column] == origins


def test_tables_in_schemas_are_told_apart() -> None:
    tables = {"shop.raw.orders": ("id", "total"), "shop.marts.orders": ("id", "net")}
    select = """
        WITH facts AS (SELECT * FROM "shop"."marts"."orders")
        SELECT facts.id, total - net AS lost FROM facts JOIN "shop"."raw"."orders" AS raw USING (id)
    """
    assert select_origins(select, {}, tables) == {
        "id": (("shop.marts.orders", "id"),),
        "lost": (("shop.marts.orders", "net"), ("shop.raw.orders", "total")),
    }


def test_what_cannot_be_followed_has_no_lineage_and_breaks_nothing() -> None:
    assert select_origins("SELECT FROM WHERE", {}, SALES) == {}
    assert select_origins("FROM sales SELECT nothing_there AS x", {}, SALES).get("x", ()) == ()
