"""Sources: where a user's events come from, such as the webhooks of another service."""

from __future__ import annotations

from tasks.schemas import CatalogArgs, Omittable, SourceMetadata


class RegisterSourceArgs(CatalogArgs):
    """Take up one source that an endpoint announced."""

    endpoint_id: str
    source: SourceMetadata

    @classmethod
    def kind(cls) -> str:
        return "registerSource"


class ActivateSourceArgs(CatalogArgs):
    """Have a source's webhook registered with the other service."""

    id: str
    orphaned_events: Omittable[list[str]] = None

    @classmethod
    def kind(cls) -> str:
        return "activateSource"


class DeliverHTTPSourceRequestArgs(CatalogArgs):
    """Forward a stored webhook to the endpoint."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "deliverHttpSourceRequest"
