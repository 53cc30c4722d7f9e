"""The server. Its contract's Python modules are on its path alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime, open_database
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config
from graphmesh_chassis.store import SqlStore
from sqlalchemy.ext.asyncio import AsyncConnection

pb: Any = import_module("acme.shipping.v1.shipping_pb2")
grpc: Any = import_module("acme.shipping.v1.shipping_pb2_grpc")
MIGRATIONS = Path(__file__).parent / "migrations"
POLL_SECONDS = 0.02

table = sa.Table(
    "parcels",
    sa.MetaData(),
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("parcel_id", sa.String(64), primary_key=True),
    sa.Column("order_id", sa.String(40), nullable=False),
    sa.Column("city", sa.String(100), nullable=False),
    sa.Column("shipped", UtcDateTime, nullable=False),
)


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_SHIPPING_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///shipping.db")
    hold: Path | None = None
    """A folder: while it has a file `hold`, effects wait before they are committed; each adds a file `waiting`."""


class Handles:
    NAME = "acme.shipping.v1.ShippingService"


@dataclass(frozen=True)
class Parcels:
    """The parcels of one tenant."""

    connection: AsyncConnection
    tenant: str

    async def add(self, order_id: str, city: str) -> Any:
        parcel_id, shipped = f"pa_{uuid4().hex}", datetime.now(UTC)
        values = {"tenant": self.tenant, "parcel_id": parcel_id, "order_id": order_id, "city": city, "shipped": shipped}
        await self.connection.execute(sa.insert(table).values(values))
        return pb.Parcel(parcel_id=parcel_id, order_id=order_id, to=pb.Address(city=city), shipped=shipped)

    async def delete(self, parcel_id: str) -> None:
        where = (table.c.tenant == self.tenant, table.c.parcel_id == parcel_id)
        if not (await self.connection.execute(sa.delete(table).where(*where))).rowcount:
            raise NotFound(resource="parcel", id=parcel_id)

    async def of_order(self, order_id: str) -> list[Any]:
        query = sa.select(table).where(table.c.tenant == self.tenant, table.c.order_id == order_id)
        rows = await self.connection.execute(query.order_by(table.c.shipped))
        return [
            pb.Parcel(parcel_id=row.parcel_id, order_id=order_id, to=pb.Address(city=row.city), shipped=row.shipped)
            for row in rows
        ]


class ShippingServicer(grpc.ShippingServiceServicer):  # type: ignore[misc]
    def __init__(self, store: SqlStore[Parcels], hold: Path | None) -> None:
        self._store, self._hold = store, hold

    async def Ship(self, request: Any, context: Any) -> Any:
        async with self._store.effect() as effect:
            parcel = await effect.port.add(request.order_id, request.to.city)
            await self._wait()
            return effect.respond(pb.ShipResponse(parcel=parcel))

    async def Recall(self, request: Any, context: Any) -> Any:
        async with self._store.effect() as effect:
            await effect.port.delete(request.parcel_id)
            return effect.respond(pb.RecallResponse())

    async def ListParcels(self, request: Any, context: Any) -> Any:
        async with self._store.read() as parcels:
            return pb.ListParcelsResponse(parcels=await parcels.of_order(request.order_id))

    async def Track(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for city in ("Riga", "Tartu"):
            yield pb.TrackResponse(city=city)

    async def _wait(self) -> None:
        while self._hold and (self._hold / "hold").exists():
            (self._hold / "waiting").touch()
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        servicer = ShippingServicer(SqlStore(database, Parcels), settings.hold)
        yield Servable(
            services=[Service(Handles, grpc.add_ShippingServiceServicer_to_server, servicer)],
            database=database,
        )


def main() -> None:
    run("shipping", build, Settings)


if __name__ == "__main__":
    main()
