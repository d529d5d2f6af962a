"""Helpers that several kinds of tests share. Tests of one thing keep their helpers beside them."""
