"""Processes whose clocks are wrong."""
