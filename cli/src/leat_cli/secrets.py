"""Secrets for `leat run`: from a file, else from where a runner would look on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from leat_cli.problems import Invalid, Problem
from leat_runner.secrets import Environment, Files, Given, SecretReader, SecretSettings, Source

_HINT = "; give it in an --secrets-file as `NAME: {KEY: VALUE}`, or in that environment variable"


def secrets_of(file: str | None) -> SecretReader:
    """Return what a run on this machine reads secrets from.

    Raises:
        Invalid: The file cannot be read, or is not ``NAME: {KEY: VALUE}``. No message shows a value.
    """
    given: list[Source] = [] if file is None else [Given(_read(file), f"an entry in {file}")]
    folder = SecretSettings().secrets_dir
    files: list[Source] = [] if folder is None else [Files(folder)]
    return SecretReader([*given, *files, Environment()], _HINT)


def _read(path: str) -> dict[str, dict[str, str]]:
    try:
        found = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise Invalid.because(f"cannot be read: {error.strerror}", file=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise Invalid.because("not YAML", file=path, line=mark.line + 1 if mark else 0) from None  # it shows the line
    problems = list(_problems(path, found))
    if problems:
        raise Invalid(problems)
    values: dict[str, dict[str, str]] = found
    return values


def _problems(path: str, found: Any) -> Iterator[Problem]:
    expected = "expected texts by key by name, such as `pay: {token: abc}`"
    if not isinstance(found, dict):
        yield Problem(path, 0, "", f"found {_type(found)}, {expected}")
        return
    for name, keys in found.items():
        if not isinstance(keys, dict):
            yield Problem(path, 0, f"{name}", f"found {_type(keys)}, {expected}")
            continue
        for key, value in keys.items():
            if not isinstance(value, str):
                yield Problem(path, 0, f"{name}.{key}", f"found {_type(value)}, expected text; write it in quotes")


def _type(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool() | int() | float():
            return "a number or boolean"
        case str():
            return "a text"
        case _:
            return "a list or object"
