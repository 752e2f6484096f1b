"""The parts of an object's metadata that Leat reads."""

from pydantic import ConfigDict

from leat_engine.spec.model import Model


class Metadata(Model):
    """Kubernetes object metadata; everything else in it is left alone."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    """Name of the object."""
    generate_name: str = ""
    """Beginning of a name that the API server completes."""
    namespace: str = "default"
    """Namespace of the object."""
    uid: str = ""
    """Id that the API server gave it."""
    generation: int = 1
    """Count of the changes of its spec."""
    creation_timestamp: str = ""
    """When it was created, RFC 3339."""
