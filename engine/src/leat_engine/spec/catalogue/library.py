"""The templates that come with Leat: the YAML files of this package, named by folder and file."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from leat_engine.spec.template import StepTemplate


@lru_cache(maxsize=1)
def library() -> Mapping[str, StepTemplate]:
    """The templates by name, such as ``slack/post-message``."""
    found: dict[str, StepTemplate] = {}
    for folder in sorted(files(__package__).iterdir(), key=lambda each: each.name):
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir(), key=lambda each: each.name):
            if file.name.endswith(".yaml"):
                name = f"{folder.name}/{file.name.removesuffix('.yaml')}"
                found[name] = StepTemplate.model_validate(yaml.safe_load(file.read_text("utf-8")))
    return MappingProxyType(found)
