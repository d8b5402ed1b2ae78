"""Deployments of users' projects."""

from __future__ import annotations

from tasks.schemas import CatalogArgs


class StartInitialProjectDeploymentArgs(CatalogArgs):
    """Build and deploy a project for the first time."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "startInitialProjectDeployment"
