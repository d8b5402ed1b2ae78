"""Organizations: who uses the service."""

from __future__ import annotations

from tasks.schemas import CatalogArgs


class OrganizationCreatedArgs(CatalogArgs):
    """Set up a new organization."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "organizationCreated"
