"""Chores: one file each, none knowing another."""
