"""The peers' adapters: each is run by its peer's own environment, where alone the peer can be imported."""
