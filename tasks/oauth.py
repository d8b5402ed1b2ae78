"""OAuth: keeping the tokens of connections fresh."""

from __future__ import annotations

from tasks.schemas import CatalogArgs


class RefreshOAuthTokenArgs(CatalogArgs):
    """Refresh a connection's token before it expires."""

    organization_id: str
    connection_id: str

    @classmethod
    def kind(cls) -> str:
        return "refreshOAuthToken"
