"""Typed background jobs over PostgreSQL."""
