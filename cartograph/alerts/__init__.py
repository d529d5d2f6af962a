"""Alerts: a person hears once of what fails, with what to do, and once more when it is well again.

`messages` says what a message is, `parts` of what, `ledger` keeps what was told and what is still to be sent, `config`
reads who is told what and where, `sinks` are the places, `delivery` brings one to the other. What happened is observed
elsewhere (`cartograph.trust.signals`, which knows Dagster); nothing here does.
"""
