"""Letheia's own database, migrated as in production but for the connectors' schemas; each service has its role."""

from dataclasses import dataclass
from importlib.resources import files

from services.kit.postgres import connect, migrate
from tests.support.postgres import PostgresServer

_ROLES = ("letheia_coordinator", "letheia_console")


@dataclass(frozen=True)
class LetheiaDatabase:
    """A database of a test's own."""

    server: PostgresServer
    name: str

    def url(self, role: str) -> str:
        """As one of the services, or as `postgres`."""
        return self.server.url(self.name, role)


async def letheia_database(server: PostgresServer) -> LetheiaDatabase:
    """A new one."""
    name = (await server.database()).rpartition("/")[2]
    db = await connect(server.url(name, "postgres"))
    try:
        for role in _ROLES:
            if not await db.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
                await db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        await migrate(db, "vault", files("services.kit") / "sql", {})
        for service in ("coordinator", "console"):
            await migrate(db, service, files(f"services.{service}") / "sql", {})
    finally:
        await db.close()
    return LetheiaDatabase(server, name)
