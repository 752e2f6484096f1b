"""What a test expects of a run, held against what came of it. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leat_cli.rehearsal.score import Course, Score, spent
from leat_cli.testing.files import Expect
from leat_engine.result import State
from leat_engine.spec.duration import parse_duration

_MISSING: Any = object()
_LONGEST = 120  # characters of a value
_EXACT = 0.001  # seconds


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as expected. ``path`` is that of the expectation; the values are texts to be shown."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


Show = Callable[[Any], str]
"""The text of a JSON value, with nothing sensitive in it."""


def differences(expect: Expect, score: Score, show: Show) -> Iterator[Difference]:
    """All that is not as expected."""
    written = expect.model_fields_set
    if score.label != expect.wanted_phase:
        yield Difference("phase", expect.wanted_phase, _phase(score, show))
    if "output" in written:
        yield from _compared(expect.output, score.output, "output", show)
    if expect.error is not None:
        yield from _error(expect.error, score.error, show)
    if expect.path is not None and expect.path != score.path:
        yield Difference("path", " > ".join(expect.path) or "nothing", " > ".join(score.path) or "nothing")
    for word, wanted, holds in (
        ("ran", expect.ran, lambda course: course.ran),
        ("skipped", expect.skipped, lambda course: course.state in (State.SKIPPED, State.OMITTED)),
        ("failed", expect.failed, lambda course: course.state is State.FAILED),
        ("cached", expect.cached, lambda course: course.cached),
    ):
        yield from _states(word, wanted, score, holds)
    yield from _steps(expect, score, show)
    if expect.duration is not None and abs(parse_duration(expect.duration) - score.seconds) > _EXACT:
        yield Difference("duration", expect.duration, spent(score.seconds))


def _steps(expect: Expect, score: Score, show: Show) -> Iterator[Difference]:
    for name, count in expect.attempts.items():
        found = max((course.attempts for course in score.named(name)), default=0)
        if found != count:
            yield Difference(f"attempts.{name}", str(count), str(found))
    for name, value in expect.outputs.items():
        yield from _of_steps(f"outputs.{name}", value, [course.output for course in score.named(name)], show)
    for name, value in expect.fields.items():
        found_fields = [course.fields for course in score.named(name) if course.fields is not None]
        yield from _of_steps(f"fields.{name}", value, found_fields, show, partial=True)


def _phase(score: Score, show: Show) -> str:
    if score.phase is None:
        return f"Running: {'; '.join(score.waits) or 'nothing goes on any more'}"
    message = show((score.error or {}).get("message", "")).strip('"')
    return f"{score.label}: {message}" if message else score.label


def _error(wanted: Mapping[str, Any], found: Mapping[str, Any] | None, show: Show) -> Iterator[Difference]:
    if found is None:
        yield Difference("error", show(wanted), "none")
        return
    for key, value in wanted.items():
        if key == "message" and isinstance(value, str) and value in str(found.get("message", "")):
            continue
        yield from _compared(value, found.get(key, _MISSING), f"error.{key}", show, partial=True)


def _states(word: str, wanted: list[str], score: Score, holds: Callable[[Course], bool]) -> Iterator[Difference]:
    for name in wanted:
        courses = score.named(name)
        if not any(map(holds, courses)):
            found = ", ".join(dict.fromkeys(course.label for course in courses)) or "never reached"
            yield Difference(word, name, f"{name} {found if found == 'never reached' else 'is ' + found}")


def _of_steps(path: str, wanted: Any, found: list[Any], show: Show, *, partial: bool = False) -> Iterator[Difference]:
    """One of the executions that are meant has to be as expected; the last one is shown."""
    if not found:
        yield Difference(path, show(wanted), "nothing: it never came to that")
        return
    every = [[*_compared(wanted, value, path, show, partial=partial)] for value in found]
    if all(every):
        yield from every[-1]


def _compared(wanted: Any, found: Any, path: str, show: Show, *, partial: bool = False) -> Iterator[Difference]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        keys = wanted if partial else dict.fromkeys([*wanted, *found])
        for key in keys:
            inner = (wanted.get(key, _MISSING), found.get(key, _MISSING), f"{path}.{key}")
            yield from _compared(*inner, show, partial=partial)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _compared(one, other, f"{path}[{index}]", show, partial=partial)
    elif not _same(wanted, found):
        yield Difference(path, _text(wanted, show), _text(found, show))


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1, and 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _text(value: Any, show: Show) -> str:
    if value is _MISSING:
        return "nothing"
    text = show(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
