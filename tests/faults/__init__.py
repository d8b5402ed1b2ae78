"""Breaks things on purpose and checks the history: `python -m tests.faults run --profile ci --seed 1`."""
