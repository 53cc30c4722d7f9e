"""The settings of retrieval."""

from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config
from pydantic import Field


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_RETRIEVAL_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///.graphmesh/retrieval.db")
    embedder: str = Field(
        default="",
        pattern=r"^(|minilm|[a-z_]+:.+)$",
        description="ranks by meaning too: minilm (extra `embeddings`; English), or LangChain's provider:model",
    )
    file_seconds: int = Field(
        default=10, ge=1, le=60, description="longest CPU time to read an HTML, PDF or Word document, in seconds"
    )
    max_versions: int = Field(
        default=20, ge=0, le=1000, description="earlier versions of a document that are kept for audits, at the most"
    )
    version_days: int = Field(
        default=365, ge=0, le=36500, description="days for which an earlier version is kept after it was replaced"
    )
