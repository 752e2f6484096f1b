"""Secrets of steps: where their values come from, and that they stay in.

The law of this room: a value is read when a step begins, lives in the fields of that one attempt, and is looked for in
all that leaves it. No error names a value, nor anything computed from one. A secret is found by the first source that
has it: files, the environment, and the Secrets of the run's namespace that let workflows read them.
"""

from leat_runner.secrets.held import holding, mask_held, masked
from leat_runner.secrets.reader import SecretReader, installed
from leat_runner.secrets.source import Environment, Files, Given, SecretError, SecretSettings, Source

__all__ = [
    "Environment",
    "Files",
    "Given",
    "SecretError",
    "SecretReader",
    "SecretSettings",
    "Source",
    "holding",
    "installed",
    "mask_held",
    "masked",
]
