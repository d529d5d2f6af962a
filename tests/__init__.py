"""The tests. A regular package, since a library (adagio) installs one called `tests`, which a folder alone loses to."""
