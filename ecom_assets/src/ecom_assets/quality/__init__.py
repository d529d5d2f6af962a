"""How good delivered data are: daily figures, what is unusual in them, and scores. Pure, without Dagster.

What is configured stands in `policy`, what is counted in `profile`, what is unusual in `anomalies`. Whether a single
row is good is decided in `ecom_assets.contracts.validation`; the checks that show all this are built in
`ecom_assets.components`.
"""
