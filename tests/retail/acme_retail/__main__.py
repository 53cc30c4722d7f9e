"""The server. Its contract's Python modules are on its path alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict
from graphmesh_chassis.database import open_database
from graphmesh_chassis.errors import RuleViolated
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config
from graphmesh_chassis.store import SqlStore
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.retail.shop import WRITES, Data, Refused, new_shop, perform

pb: Any = import_module("acme.retail.v1.retail_pb2")
grpc: Any = import_module("acme.retail.v1.retail_pb2_grpc")
MIGRATIONS = Path(__file__).parent / "migrations"

table = sa.Table(
    "shops",
    sa.MetaData(),
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("data", sa.JSON, nullable=False),
)


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_RETAIL_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///retail.db")


class Handles:
    NAME = "acme.retail.v1.RetailService"


@dataclass(frozen=True)
class Shops:
    """The shop of one tenant, which is new until something in it has changed."""

    connection: AsyncConnection
    tenant: str

    async def read(self) -> Data:
        row = (await self.connection.execute(sa.select(table).where(table.c.tenant == self.tenant))).one_or_none()
        return new_shop() if row is None else dict(row.data)

    async def write(self, shop: Data) -> None:
        await self.connection.execute(sa.delete(table).where(table.c.tenant == self.tenant))
        await self.connection.execute(sa.insert(table).values(tenant=self.tenant, data=shop))


class RetailServicer(grpc.RetailServiceServicer):  # type: ignore[misc]
    """Serves each tool by the function of its name in `shop`."""

    def __init__(self, store: SqlStore[Shops]) -> None:
        self._store = store
        for method in pb.DESCRIPTOR.services_by_name["RetailService"].methods:
            setattr(self, method.name, self._effect(method) if method.name in WRITES else self._read(method))

    def _read(self, method: Any) -> Any:
        async def read(request: Any, context: Any) -> Any:
            async with self._store.read() as shops:
                return answer(method, await shops.read(), request)

        return read

    def _effect(self, method: Any) -> Any:
        async def write(request: Any, context: Any) -> Any:
            async with self._store.effect() as effect:
                shop = await effect.port.read()
                response = answer(method, shop, request)
                await effect.port.write(shop)
                return effect.respond(response)

        return write


def answer(method: Any, shop: Data, request: Any) -> Any:
    """Return the response of a tool. Raises RuleViolated."""
    try:
        result = perform(shop, method.name, MessageToDict(request, preserving_proto_field_name=True))
    except Refused as error:
        raise RuleViolated(str(error), rule="shop") from error
    response = getattr(pb, method.output_type.name)
    return response(user_id=result) if isinstance(result, str) else response(result=result)


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        servicer = RetailServicer(SqlStore(database, Shops))
        yield Servable(
            services=[Service(Handles, grpc.add_RetailServiceServicer_to_server, servicer)], database=database
        )


def main() -> None:
    run("retail", build, Settings)


if __name__ == "__main__":
    main()
