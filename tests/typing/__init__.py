"""Tests of what the two type checkers say of an application's code."""
