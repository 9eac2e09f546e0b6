"""What the simulator is told from outside: environment variables with the prefix `HUBSPOT_SIMULATOR_`."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The defaults of the rate limits are the vendor's for its smallest plans ("API usage guidelines")."""

    model_config = SettingsConfigDict(env_prefix="HUBSPOT_SIMULATOR_", frozen=True)

    port: int
    state: Path
    """SQLite file that outlives the process."""
    token: SecretStr
    bound_s: float = 2
    """Seconds that a GDPR deletion takes. The vendor allows itself 30 days."""
    index_lag_s: float = 0.5
    """Seconds that the search index is behind."""
    requests_per_ten_seconds: int = 100
    requests_per_day: int = 250_000
    searches_per_second: int = 5
