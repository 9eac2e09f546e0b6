"""What a service is told from outside: environment variables with the prefix `LETHEIA_`."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, in a service's `bootstrap`, and handed on."""

    model_config = SettingsConfigDict(env_prefix="LETHEIA_", frozen=True, extra="ignore")

    database_url: SecretStr
    """This service's own role in Letheia's database."""
    kafka: str
    """Bootstrap servers."""
    inventory: Path
    keys: Path
    """Folder with Letheia's keys: receiving, epoch, hash, and the console's publisher key."""
    health_port: int
    spans: Path | None = None
    """File that spans are appended to, one JSON a line; none: no spans."""
    s3_endpoint: str | None = None
    """None: the vendor's own, by region."""
    s3_region: str = "eu-west-3"
    aws_access_key_id: str | None = Field(default=None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias="AWS_SECRET_ACCESS_KEY")
    port: int = 8080
    """The console's."""
    tokens: Path | None = None
    """The console's principals."""

    @classmethod
    def from_environment(cls) -> Self:
        """Raises `pydantic.ValidationError` naming each missing variable."""
        return cls()
