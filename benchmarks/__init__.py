"""Benchmarks: one file per question asked of the program; `python -m benchmarks NAME`."""
