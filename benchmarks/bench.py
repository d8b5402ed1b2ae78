"""What every benchmark is given: the server, the sizes, the meter, and schemas of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.connection import Connection, connect
from benchmarks.measure import Cost, Meter, find_postmaster
from benchmarks.schema import fresh_schema
from benchmarks.sizes import Sizes


@dataclass(frozen=True)
class Bench:
    """One run of one benchmark."""

    url: str = field(repr=False)
    sizes: Sizes
    repeat: int
    sql: Connection = field(repr=False)
    """For what is looked up and made ready, never for what is timed."""
    meter: Meter

    def cost(self, children: Sequence[int] = ()) -> AbstractAsyncContextManager[Cost]:
        """Measure what happens inside."""
        return self.meter.cost(children)

    def schema(self) -> AbstractAsyncContextManager[str]:
        """Make a migrated schema that is dropped in the end."""
        return fresh_schema(self.url, self.sql)


@asynccontextmanager
async def opened(url: str, sizes: Sizes, repeat: int) -> AsyncGenerator[Bench]:
    """Connect to the server that is measured."""
    sql = await connect(url)
    meter = await connect(url)
    try:
        yield Bench(url, sizes, repeat, sql, Meter(meter, await find_postmaster(meter)))
    finally:
        await meter.close()
        await sql.close()
