"""GitHub: pushes to users' repositories, and installations of our application there."""

from __future__ import annotations

from tasks.schemas import CatalogArgs


class GitHubPushArgs(CatalogArgs):
    """Index the endpoints of what was pushed."""

    branch: str
    commit_sha: str
    repository: str

    @classmethod
    def kind(cls) -> str:
        return "githubPush"


class GitHubAppInstallationDeletedArgs(CatalogArgs):
    """Unlink the repositories of a deleted installation."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "githubAppInstallationDeleted"
