"""What every model of a resource shares."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """An object of a resource: camelCase fields, none but the known ones, values of exactly the stated types."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    def as_json(self) -> dict[str, Any]:
        """What was written, without fields that hold their default: the canonical form."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
