"""The command line. One module for a noun; each command reads settings, calls the kernel or a location, and prints.

The only part of the kernel that knows Dagster and the code locations. Logic that a test would call without a terminal
belongs elsewhere, except what is about terminals and processes.
"""
