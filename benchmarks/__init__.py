"""One file for each question; `make bench` runs them all. Each prints its results as lines of JSON."""
