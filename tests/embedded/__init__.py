"""A PostgreSQL for development: found or started."""
