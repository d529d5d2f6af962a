"""The panel of a question about customers: who was treated when, what came after it, and what was known before.

Rows and columns only: the features are those of the day of the treatment, made of what the shop knew before that day,
so that nothing that the treatment changed is among them. Effects are found in `ml_assets.core.causal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Column, Contract
from cartograph.windows import at_midnight
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.panel import NoCampaign, complete, email_campaigns
from ml_assets.core.causal.study import Covariates, Design, Matrix, Study
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import Marts, feature_table
from ml_assets.core.own_models.target import Connect, first_line, marts_of, without_end
from ml_assets.core.questions.asked import OUTCOME, TREATMENT, Asked, QuestionError
from ml_assets.core.questions.form import (
    ASSIGNMENTS,
    CAMPAIGNS,
    EARLIER,
    FEATURES,
    LINES,
    CustomerQuestion,
)
from ml_assets.core.questions.posed import Data, NoAnswer, Posed

MOST_DATES = 8
"""Where customers come one by one, their features are of the latest of so many days before: each day costs a query."""
CONTROL = "control"
ARMS = ("untreated", "treated")
DAYS = {"month": 1, "quarter": 3}

_UNITS = pa.schema(
    {
        "customer_id": pa.string(),
        "as_of_date": pa.date32(),
        "asked_at": pa.timestamp("us", tz="UTC"),
        "treatment": pa.float64(),
    }
)
_ORDERS = """
    SELECT customer_id, min(ordered_at) AS happened_at, 1 AS amount
    FROM ({lines}) WHERE NOT is_cancelled GROUP BY customer_id, order_id"""
_MEASURES = {
    "net_spend": "SELECT customer_id, ordered_at AS happened_at, net_amount AS amount FROM ({lines}) "
    "WHERE NOT is_cancelled",
    "margin": "SELECT customer_id, ordered_at AS happened_at, margin_amount AS amount FROM ({lines}) "
    "WHERE NOT is_cancelled",
    "orders": _ORDERS,
    "ordered": _ORDERS,
}
"""Net spend is what standing order lines came to after discounts; refunds, which follow weeks later, and shipping are
not in it."""
_WORDS = {
    "net_spend": ("net spend", "{currency} per customer"),
    "margin": ("margin", "{currency} per customer"),
    "orders": ("orders", "orders per customer"),
    "ordered": ("whether the customer orders", "share of customers"),
}


class Units(NamedTuple):
    """Who is asked about, and when.

    `listed` are those whom the treatment's rows tell of: `customer_id`, `as_of_date`, `asked_at` and `treatment`. On
    the days of `everybody`, with their moments, all others of the population are untreated. What came counts from
    `after` the moment on. `treatment` says what it is, a customer's costs `cost`.
    """

    listed: pa.Table
    everybody: Mapping[date, datetime]
    after: timedelta
    treatment: str
    cost: float
    levels: tuple[str, ...]
    notes: Mapping[str, str]

    @property
    def as_of_dates(self) -> list[date]:
        """The days of which features are needed, oldest first."""
        return sorted({*self.everybody, *pc.unique(self.listed["as_of_date"]).to_pylist()})


def features_at(data: Data, questions: Iterable[CustomerQuestion]) -> pa.Table:
    """Features of all customers on the days that `questions` ask about, as one query makes them.

    A question that cannot be asked is passed over: its own panel says why.
    """
    dates: set[date] = set()
    for question in questions:
        try:
            dates |= set(units(data, question).as_of_dates)
        except (NoAnswer, QuestionError):
            continue
    return feature_table(data.con, _of_features(data.marts), sorted(dates))


def pose(data: Data, question: CustomerQuestion) -> Posed:
    """The question's panel.

    Raises:
        NoAnswer: the shop has too little data for it yet.
        QuestionError: it cannot be asked of this shop.
    """
    asked = units(data, question)
    rows = _panel(data, question, asked)
    if not len(rows):
        raise NoAnswer(f"Nobody is in the population: {question.population}.")
    names = [name for name in question.observed if name in rows.column_names and _varies(rows[name])]
    modifiers = [name for name in question.depends_on if name in rows.column_names and _varies(rows[name])]
    controls = [control.name for control in question.negative_controls]
    table = contract(question, controls, [name for name in FEATURES if name in rows.column_names])
    rows = rows.select([column.name for column in table.columns]).cast(table.arrow_schema())
    about, unit = _WORDS.get(question.outcome.measure or "", ("", ""))
    window = f"in {question.outcome.within_days} days"
    return Posed(
        contract=table,
        rows=rows,
        study=study_of(rows, question, names, modifiers, asked.levels),
        design=design_of(question),
        as_of=max(asked.as_of_dates),
        treatment=asked.treatment,
        outcome=f"{question.outcome.title or about or 'the sum of amount'} {window}",
        population=question.population,
        unit=unit.format(currency=data.currency) or f"{question.outcome.unit or 'amount'} per customer",
        cost=asked.cost if question.cost is None else question.cost,
        value=_worth(data, question) if question.value is None else question.value,
        notes=asked.notes,
    )


def study_of(
    rows: pa.Table,
    question: CustomerQuestion,
    names: Sequence[str],
    modifiers: Sequence[str],
    levels: tuple[str, ...] = (),
) -> Study:
    """The rows of a panel for the estimators; customers who are in it on several days are clusters."""
    customers, cluster = np.unique(rows["customer_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    return Study(
        treatment=rows[TREATMENT].to_numpy(),
        outcome=rows[OUTCOME].to_numpy(),
        confounders=Covariates(tuple(names), _matrix(rows, names)),
        modifiers=Covariates(tuple(modifiers), _matrix(rows, modifiers)),
        placebo_outcomes={c.name: rows[f"{CONTROL}_{c.name}"].to_numpy() for c in question.negative_controls},
        clusters=cluster.astype(np.int64) if len(customers) < len(rows) else None,
        levels=levels,
    )


def design_of(question: Asked, kind: Any = None) -> Design:
    """What is asked, and what the file declares of how the treatment was chosen."""
    graph = question.graph
    return Design(
        kind=kind or (question.treatment.kind if isinstance(question, CustomerQuestion) else "binary"),
        estimand="ATT" if question.estimand == "ATT" else "ATE",
        is_randomised=question.is_randomised,
        unrecorded=question.unrecorded,
        graph=Graph(graph.arrows, TREATMENT, OUTCOME, graph.latent) if graph else None,
    )


def units(data: Data, question: CustomerQuestion) -> Units:
    """Who is asked about and when, of what the data hold whole windows of.

    Raises:
        NoAnswer: there is nobody yet.
        QuestionError: the treatment cannot be read.
    """
    treatment, moment = question.treatment, question.moment
    window = timedelta(days=question.outcome.within_days)
    if treatment.campaign is not None:
        return _of_campaign(data, question)
    if treatment.experiment is not None:
        chosen = {"experiment": treatment.experiment}
        listed = data.con.execute(
            f"""SELECT customer_id, assigned_at AS happened_at, variant AS level FROM ({data.marts[ASSIGNMENTS]})
            WHERE experiment_id = $experiment AND customer_id IS NOT NULL""",
            chosen,
        ).to_arrow_table()
        if not len(listed):
            raise NoAnswer(f"Nobody was assigned in the experiment {treatment.experiment}.")
        variants = sorted(set(listed["level"].to_pylist()) - {CONTROL})
        levels = treatment.levels or (CONTROL, *variants)
        words = treatment.title or f"is in {' or '.join(levels[1:])} of {treatment.experiment}"
    else:
        needed = moment.at == "own" or treatment.kind != "binary" or treatment.lasts
        columns = {"customer_id": "VARCHAR", "happened_at": "TIMESTAMPTZ"}
        columns |= {"level": "DOUBLE" if treatment.kind == "continuous" else "VARCHAR"} if needed else {}
        listed = read_rows(data.connect, "treatment.select", str(treatment.select), data.marts, columns)
        levels, words = treatment.levels or (), treatment.title or f"is treated as {question.name} says"
    if treatment.kind == "binary" and len(levels) > 2:
        raise QuestionError(
            f"treatment: {treatment.experiment} has the variants {', '.join(levels)}, and a binary treatment has two "
            "levels. Set kind: discrete, with levels, the control first."
        )
    everybody: dict[date, datetime] = {}
    with _registered(data.con, listed=_coded(listed, levels, question)):
        if moment.at == "own":
            found = _own(data.con, at_midnight(data.data_end) - window)
        elif moment.at == "first":
            found, everybody = _first(data, window)
        else:
            found, everybody = _on_dates(data, question, window)
    if not len(found):
        raise NoAnswer(
            f"Nobody was treated {question.outcome.within_days} days or more before the data end on {data.data_end}. "
            "Load later data, or choose a shorter window."
        )
    after = timedelta(days=treatment.within_days if everybody and moment.at is None and not treatment.lasts else 0)
    named = () if treatment.kind == "continuous" else tuple(levels) or ARMS
    return Units(found, everybody, after, words, 0.0, named, {})


def _of_campaign(data: Data, question: CustomerQuestion) -> Units:
    """The recipients of the campaign, or of that with the most recipients where the file says so."""
    wanted, days = str(question.treatment.campaign), question.outcome.within_days
    try:
        found = complete(email_campaigns(data.con, data.marts), data.data_end, days)
    except NoCampaign as none:
        raise NoAnswer(str(none)) from None
    campaign = next((one for one in found if one.campaign_id == wanted), None)
    if campaign is None and not question.treatment.or_largest:
        known = ", ".join(one.campaign_id for one in found)
        raise NoAnswer(f"No campaign {wanted} with {days} whole days after its first e-mail; there are: {known}.")
    campaign = campaign or found[0]
    rows = data.con.execute(
        f"""SELECT DISTINCT customer_id, $as_of AS as_of_date, $start AS asked_at, 1.0 AS treatment
        FROM ({data.marts["fct_events"]})
        WHERE event_type = 'email_sent' AND campaign_id = $campaign AND customer_id IS NOT NULL ORDER BY customer_id""",
        {"campaign": campaign.campaign_id, "as_of": campaign.as_of, "start": campaign.first_sent},
    ).to_arrow_table()
    budget = data.con.execute(
        f"SELECT max(budget_amount)::DOUBLE FROM ({data.marts[CAMPAIGNS]}) WHERE campaign_id = $campaign",
        {"campaign": campaign.campaign_id},
    ).fetchone()
    is_wanted = campaign.campaign_id == wanted
    words = question.treatment.title if is_wanted and question.treatment.title else f"was sent {campaign.campaign_id}"
    return Units(
        listed=rows.cast(_UNITS),
        everybody={campaign.as_of: campaign.first_sent.astimezone(UTC)},
        after=timedelta(0),
        treatment=words,
        cost=(budget[0] if budget and budget[0] else 0.0) / campaign.recipients,
        levels=ARMS,
        notes={"campaign": campaign.campaign_id},
    )


def _coded(listed: pa.Table, levels: Sequence[str], question: CustomerQuestion) -> pa.Table:
    """The rows with `level` as a number: its place among `levels`, or itself; 1 where there is none."""
    if "level" not in listed.column_names:
        return listed.append_column("level", pa.array(np.ones(len(listed))))
    if question.treatment.kind == "continuous":
        return listed
    known = levels or ("0", "1")
    codes = {name: float(place) for place, name in enumerate(known)}
    codes |= {"false": 0.0, "true": 1.0} if not levels else {}
    given = listed["level"].to_pylist()
    if strange := sorted({one for one in given if one is not None and one not in codes}):
        raise QuestionError(
            f"treatment: the level {strange[0]!r} is none of {', '.join(known)}. Name all in levels, the control first."
        )
    numbers = pa.array([None if one is None else codes[one] for one in given], pa.float64())
    return listed.set_column(listed.column_names.index("level"), "level", numbers)


def _own(con: duckdb.DuckDBPyConnection, last: datetime) -> pa.Table:
    """Each customer at their first row, if it is before `last`; features are of the latest of some days before."""
    rows = con.execute(
        """SELECT customer_id, min(happened_at) AS asked_at, arg_min(level, happened_at)::DOUBLE AS treatment
        FROM listed WHERE level IS NOT NULL AND happened_at <= $last GROUP BY customer_id ORDER BY customer_id""",
        {"last": last},
    ).to_arrow_table()
    if not len(rows):
        return _UNITS.empty_table()
    days = rows["asked_at"].cast(pa.timestamp("us", tz="UTC")).to_numpy().astype("datetime64[D]")
    chosen = np.unique(days)
    if len(chosen) > MOST_DATES:
        shares = np.arange(MOST_DATES) / MOST_DATES
        chosen = np.unique(np.sort(days)[(shares * len(days)).astype(np.int64)])
    as_of = chosen[np.searchsorted(chosen, days, side="right") - 1]
    return rows.append_column("as_of_date", pa.array(as_of.astype("datetime64[D]"))).select(_UNITS.names).cast(_UNITS)


def _first(data: Data, window: timedelta) -> tuple[pa.Table, dict[date, datetime]]:
    """Everybody at the first moment of all rows."""
    found = data.con.execute("SELECT min(happened_at) FROM listed").fetchone()
    if found is None or found[0] is None:
        raise NoAnswer("The treatment's SELECT gives no row.")
    start = found[0].astimezone(UTC)
    if start.date() + window + timedelta(days=1) > data.data_end:
        raise NoAnswer(
            f"The treatment began on {start:%Y-%m-%d}, and the data end on {data.data_end}: its window of "
            f"{window.days} days is not over. Load later data."
        )
    rows = data.con.execute(
        """SELECT customer_id, $day AS as_of_date, $start AS asked_at, arg_min(level, happened_at)::DOUBLE AS treatment
        FROM listed WHERE level IS NOT NULL GROUP BY customer_id ORDER BY customer_id""",
        {"day": start.date(), "start": start},
    ).to_arrow_table()
    return rows.cast(_UNITS), {start.date(): start}


def _on_dates(data: Data, question: CustomerQuestion, window: timedelta) -> tuple[pa.Table, dict[date, datetime]]:
    """Everybody on each date whose window is over: the level that holds then, or what happens in the days after it."""
    treatment = question.treatment
    spread = timedelta(0) if treatment.lasts else timedelta(days=treatment.within_days)
    first = data.con.execute("SELECT CAST(min(happened_at) AS DATE) FROM listed").fetchone()
    begin = first[0] if first and first[0] else data.data_end
    dates = [day for day in _dates(question, begin, data.data_end) if day + spread + window <= data.data_end]
    if not dates:
        raise NoAnswer(
            f"On none of the question's dates the treatment and a window of {window.days} days are in the data, which "
            f"begin on {begin} for the treatment and end on {data.data_end}. Load more data, or choose other dates."
        )
    holds = """
        arg_max(l.level, l.happened_at) FILTER (l.happened_at < d.asked_at)"""
    happens = {
        "binary": "max(l.level) FILTER ({inside})",
        "discrete": "arg_min(l.level, l.happened_at) FILTER ({inside})",
        "continuous": "sum(l.level) FILTER ({inside})",
    }[treatment.kind].format(inside="l.happened_at >= d.asked_at AND l.happened_at < d.asked_at + to_days($days)")
    rows = data.con.execute(
        f"""WITH dates AS (
            SELECT unnest(CAST($dates AS DATE[])) AS as_of_date, CAST(as_of_date AS TIMESTAMPTZ) AS asked_at
        )
        SELECT customer_id, as_of_date, asked_at, treatment::DOUBLE AS treatment FROM (
            SELECT l.customer_id, d.as_of_date, d.asked_at, {holds if treatment.lasts else happens} AS treatment
            FROM dates d CROSS JOIN listed l WHERE $days >= 0 GROUP BY ALL
        ) WHERE treatment IS NOT NULL ORDER BY as_of_date, customer_id""",
        {"dates": dates, "days": spread.days},
    ).to_arrow_table()
    return rows.cast(_UNITS), {day: at_midnight(day) for day in dates}


def _dates(question: CustomerQuestion, begin: date, end: date) -> Iterator[date]:
    """The dates that the file names, or those that its rule gives from `begin` on and before `end`."""
    time = question.moment
    if time.every is None:
        yield from sorted(set(time.dates))
        return
    months = DAYS[time.every]
    number = (begin.year * 12 + begin.month - 1) // months * months
    while (first := date(number // 12, number % 12 + 1, 1)) < end:
        day = first + timedelta(days=time.after_days)
        if day >= begin:
            yield day
        number += months


def _panel(data: Data, question: CustomerQuestion, asked: Units) -> pa.Table:
    """Units with outcome, negative controls and features."""
    window = question.outcome.within_days
    everybody = pa.table(
        {
            "as_of_date": pa.array(list(asked.everybody), pa.date32()),
            "asked_at": pa.array(list(asked.everybody.values()), pa.timestamp("us", tz="UTC")),
        }
    )
    own = {
        f"own_{control.name}": read_rows(data.connect, f"negative_controls.{control.name}", control.select, data.marts)
        for control in question.negative_controls
        if control.select is not None
    }
    if question.outcome.select is not None:
        own["own_outcome"] = read_rows(data.connect, "outcome.select", question.outcome.select, data.marts)
        counted = "FROM own_outcome"
    else:
        counted = _MEASURES[str(question.outcome.measure)].format(lines=data.marts[LINES])
    most = "least(1, {})" if question.outcome.measure == "ordered" else "{}"
    whom = (
        """SELECT p.customer_id, p.as_of_date, e.asked_at, coalesce(l.treatment, 0) AS treatment
        FROM populated p JOIN everybody e USING (as_of_date) LEFT JOIN listed l USING (customer_id, as_of_date)"""
        if asked.everybody
        else "SELECT l.* FROM populated p JOIN listed l USING (customer_id, as_of_date)"
    )
    controls, joins = [], []
    for number, control in enumerate(question.negative_controls):
        earlier = control.name == EARLIER
        source, begin = (counted, "-$days") if earlier else (f"FROM own_{control.name}", "$after")
        limit = most if earlier else "{}"
        controls.append(f"{limit.format(f'coalesce(c{number}.amount, 0)::DOUBLE')} AS {CONTROL}_{control.name}")
        joins.append(f"LEFT JOIN ({_counted(source, begin)}) c{number} USING (customer_id, as_of_date)")
    with _registered(data.con, listed=asked.listed, everybody=everybody, **own):
        return data.con.execute(
            f"""
            WITH populated AS (
                FROM ({populated(data.shared, question.population)})
                WHERE as_of_date IN (SELECT as_of_date FROM listed UNION SELECT as_of_date FROM everybody)
            ), units AS ({whom})
            SELECT u.customer_id, u.as_of_date, u.asked_at, u.treatment,
                {most.format("coalesce(o.amount, 0)::DOUBLE")} AS outcome, {", ".join([*controls, ""])}
                p.* EXCLUDE (customer_id, as_of_date)
            FROM units u JOIN populated p USING (customer_id, as_of_date)
            LEFT JOIN ({_counted(counted, "$after")}) o USING (customer_id, as_of_date)
            {" ".join(joins)}
            ORDER BY u.as_of_date, u.customer_id""",
            {"days": window, "after": asked.after.days},
        ).to_arrow_table()


def populated(features: str, population: str) -> str:
    """SQL: the rows of `features`, a SELECT of customer features, that are in a question's `population`."""
    return f"SELECT * FROM ({features}) WHERE ({population}\n)"


def _counted(source: str, begin: str) -> str:
    """The sum of a unit's amounts in `$days` days, which begin so many days after the moment as `begin` says."""
    return f"""
        SELECT u.customer_id, u.as_of_date, sum(h.amount) AS amount
        FROM units u JOIN ({source}) h ON h.customer_id = u.customer_id
            AND h.happened_at >= u.asked_at + to_days({begin})
            AND h.happened_at < u.asked_at + to_days({begin}) + to_days($days)
        GROUP BY ALL"""


def read_rows(
    connect: Connect, key: str, select: str, tables: Marts, columns: Mapping[str, str] | None = None
) -> pa.Table:
    """What a SELECT of a question's file gives, over a connection that reaches the marts only: `columns` by type.

    Raises:
        QuestionError: the SELECT cannot be run, or has other columns; the message begins with `key`.
    """
    columns = columns or {"customer_id": "VARCHAR", "happened_at": "TIMESTAMPTZ", "amount": "DOUBLE"}
    marts = ", ".join(f"{name} AS ({tables[name]})" for name in marts_of(select))
    body = f"(\n{without_end(select)}\n)"
    try:
        with connect() as con:
            given = con.execute(f"WITH {marts} SELECT * FROM {body} LIMIT 0").to_arrow_table().schema.names
            if lacking := [name for name in columns if name not in given]:
                raise QuestionError(
                    f"{key}: its SELECT gives {', '.join(given)}, and needs {' and '.join(lacking)} too. Name the "
                    "customer customer_id and the moment happened_at."
                )
            casts = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns.items())
            return con.execute(
                f"""WITH {marts} SELECT {casts} FROM {body}
                WHERE customer_id IS NOT NULL AND happened_at IS NOT NULL ORDER BY ALL"""
            ).to_arrow_table()
    except duckdb.Error as error:
        raise QuestionError(f"{key}: its SELECT cannot be run: {first_line(error)}") from None


def contract(question: CustomerQuestion, controls: Sequence[str], features: Sequence[str]) -> Contract:
    """The table of the panel."""
    return Contract(
        dataset=f"{question.name}_panel",
        grain=f"A customer whom {question.name} asks about, on a day.",
        key=("customer_id", "as_of_date"),
        columns=(
            Column(name="customer_id", type="string", description="The customer."),
            Column(name="as_of_date", type="date", description="The features hold what was known before this day."),
            Column(name="asked_at", type="timestamp", description="The moment of the treatment, or of the comparison."),
            Column(name=TREATMENT, type="double", description="1 if treated, or the level or amount of it; else 0."),
            Column(
                name=OUTCOME, type="double", description=f"What came in {question.outcome.within_days} days after it."
            ),
            *(
                Column(
                    name=f"{CONTROL}_{name}",
                    type="double",
                    nullable=True,
                    description="What the treatment cannot have changed.",
                )
                for name in controls
            ),
            *(Column(name=name, type="double", nullable=True, description=FEATURES[name].meaning) for name in features),
        ),
    )


def feature_contract(marts: Iterable[str]) -> Contract:
    """The table of the features on the days that questions ask about; of none by time, as each making has all days."""
    told = {
        "dataset": "customers_as_of",
        "grain": "A registered customer on a day that a causal question asks about, from data before that day.",
        "event_time": None,
    }
    return CUSTOMER_FEATURES.of(frozenset(marts)).contract().model_copy(update=told)


def _worth(data: Data, question: CustomerQuestion) -> float | None:
    """What one unit of the outcome is worth: the shop's margin of it; None where no cost of goods is known."""
    measure = question.outcome.measure
    if measure is None:
        return None
    if measure == "margin":
        return 1.0
    found = data.con.execute(
        f"""SELECT sum(margin_amount)::DOUBLE, sum(net_amount) FILTER (margin_amount IS NOT NULL)::DOUBLE,
            count(DISTINCT order_id) FILTER (margin_amount IS NOT NULL)
        FROM ({data.marts[LINES]}) WHERE NOT is_cancelled"""
    ).fetchone()
    margin, net, orders = found or (None, None, None)
    if not margin or not net:
        return None
    return float(margin / net if measure == "net_spend" else margin / orders)


def _of_features(marts: Marts) -> Marts:
    """Without the marts that no feature is made of: what is not there makes no feature."""
    return {name: select for name, select in marts.items() if name not in {CAMPAIGNS, ASSIGNMENTS}}


def _matrix(rows: pa.Table, names: Sequence[str]) -> Matrix:
    if not names:
        return np.empty((len(rows), 0))
    columns = [rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names]
    matrix: Matrix = np.column_stack(columns)
    return matrix


def _varies(column: pa.ChunkedArray) -> bool:
    return len(column.unique()) > 1


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    for name, table in tables.items():
        con.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            con.unregister(name)
