"""Tests of the catalog: args, workers, the chain and the demonstration."""
