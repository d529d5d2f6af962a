"""Code location 1: sources, contracts, raw and quarantine assets, the dbt warehouse and what it publishes."""
