"""Virtual machines that users' jobs ran on."""

from __future__ import annotations

from tasks.schemas import CatalogArgs


class StopVMArgs(CatalogArgs):
    """Stop a virtual machine."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "stopVM"
