"""The contract of the quarantine tables: where rows that break their dataset's contract are kept, with the reason.

One table for each dataset, all of the same form. Which rows go there is decided in `validation`.
"""

from cartograph.contracts import Column, Contract, with_provenance

QUARANTINE_COLUMNS = (
    Column(name="dataset", type="string", description="The dataset whose contract the row breaks."),
    Column(
        name="reason",
        type="string",
        description="The first thing that is wrong, e.g. wrong_type:quantity, orphan:order_id, exact_duplicate.",
    ),
    Column(name="message", type="string", description="All that is wrong with the row, in words."),
    Column(
        name="row", type="string", pii="free_text", description="The row as it was delivered: JSON, values as text."
    ),
    Column(name="event_time", type="timestamp", nullable=True, description="The row's event time, where readable."),
    Column(
        name="window_start",
        type="timestamp",
        description="Places the row in a partition: the day of its event time, else the start of the load's window.",
    ),
)


def quarantine_contract(dataset: str) -> Contract:
    """The contract of the table that keeps the quarantined rows of `dataset`, with the provenance columns.

    It has no key: a source may deliver the same broken row twice, and both are kept.
    """
    return with_provenance(
        Contract(
            dataset=dataset,
            grain=f"A row of {dataset} that broke its contract, or repeats another exactly.",
            key=(),
            event_time="window_start",
            columns=QUARANTINE_COLUMNS,
        )
    )
