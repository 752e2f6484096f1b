"""Test files, read and held against their workflows, and played."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import normpath
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from leat_cli.documents import is_leat, kind_of, name_of, problems_of, read_documents
from leat_cli.order import Order, callee_of, of_workflow
from leat_cli.problems import Invalid, Problem
from leat_cli.rehearsal.cast import Props, Secrets
from leat_cli.rehearsal.company import IN_TIME
from leat_cli.rehearsal.scene import Cue, Scene
from leat_cli.rehearsal.score import Score, address_problem
from leat_cli.rehearsal.stage import play
from leat_cli.testing.expect import Difference, differences
from leat_cli.testing.fakes import Answer, Fakes, compiled
from leat_cli.testing.files import START, CaseSpec, Common, Expect, TestFile, Told, over
from leat_engine.errors import LeatError, Reason, Rejected
from leat_engine.job import dumps
from leat_engine.plan import PURE_KINDS
from leat_engine.spec.duration import parse_duration
from leat_engine.spec.kinds import load_models
from leat_engine.spec.parse import reasons as reasons_of
from leat_engine.spec.source import Document
from leat_engine.spelling import unknown
from leat_engine.waits import Signal
from leat_runner.secrets import Given, SecretReader

PATTERN = "*.test.yaml"


@dataclass(frozen=True, slots=True)
class Case:
    """One case, ready to be played."""

    name: str
    order: Order
    answers: Mapping[str, Sequence[Answer]]
    spec: CaseSpec
    functions: tuple[str, ...]
    line: int

    def play(self) -> "Verdict":
        """Play it, and hold what comes of it against what is expected.

        Raises:
            Invalid: The functions cannot be loaded.
        """
        began = time.perf_counter()
        spec = self.spec
        scene = Scene(
            self.order,
            Fakes(self.answers, frozenset(spec.allow)),
            Secrets(SecretReader([Given(spec.secrets, "`secrets` of the case"), Props()])),
            spec.now or START,
            tuple(_cues(spec)),
            self.functions,
        )
        try:
            score = play(scene)
        except LeatError as error:
            raise Invalid.because(str(error)) from error
        redaction = score.redaction

        def show(value: Any) -> str:
            return dumps(scene.secrets.masked(redaction.value(value)))

        found = () if score.problems else tuple(differences(spec.expect, score, show))
        found = tuple(replace(each, path=redaction.text(each.path)) for each in found)  # it may hold keys of outputs
        problems = tuple(redaction.text(problem) for problem in score.problems)
        return Verdict(self, score, found, problems, time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case. ``took`` is real time, in seconds.

    Attributes:
        problems: Why it says nothing about the workflow; without one, it passed if there are no differences.
    """

    case: Case
    score: Score
    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    took: float

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.differences and not self.problems


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file."""

    file: str
    workflow: Document
    order: Order
    cases: tuple[Case, ...]


def test_files(paths: Sequence[str]) -> list[str]:
    """The test files that are meant: files as they are, of folders all that are in them and below.

    Raises:
        Invalid: There is none.
    """
    found: list[str] = []
    for path in paths or ["."]:
        inside = sorted(str(file) for file in Path(path).rglob(PATTERN)) if Path(path).is_dir() else [path]
        if not inside:
            raise Invalid.because(f"found no test file {PATTERN} in this folder or below", file=path)
        found += inside
    return list(dict.fromkeys(found))


def load(file: str) -> Suite:
    """Read a test file.

    Raises:
        Invalid: With every problem of it, or of its workflow.
    """
    document = _document(file)
    try:
        spec = TestFile.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        found = reasons_of(error.errors(include_url=False), TestFile, "")
        raise Invalid(problems_of(document, found)) from error
    order, workflow = _workflow(document, spec)
    reader = _Reader(file, document, order)
    cases = [reader.case(each, spec.defaults, f"cases[{index}]") for index, each in enumerate(spec.cases)]
    if reader.reasons:
        raise Invalid(problems_of(document, reader.reasons))
    return Suite(file, workflow, order, tuple(cases))


def _document(file: str) -> Document:
    documents = read_documents(file)
    if len(documents) != 1:
        raise Invalid.because(f"found {len(documents)} documents, expected one with `workflow` and `cases`", file=file)
    return documents[0]


def _workflow(document: Document, spec: TestFile) -> tuple[Order, Document]:
    path, _, name = spec.workflow.partition("#")
    found = _workflows_of(document, path, "workflow")
    meant = [each for each in found if name in {"", name_of(each)}]
    if not meant:
        names = ", ".join(map(name_of, found)) or "none"
        file = _beside(document, path)
        message = f"found no Workflow {name!r} in {file}, expected one of: {names}"
        if not name:
            message = f"found no Workflow in {file}, expected one"
        raise Invalid([Problem(document.filename, document.line_of("workflow"), "workflow", message)])
    others = [
        callee_of(each)
        for index, other in enumerate(spec.workflows)
        for each in _workflows_of(document, other, f"workflows[{index}]")
    ]
    order = replace(of_workflow(meant[-1]), callees=(*map(callee_of, found), *others))
    return order, meant[-1]


def _beside(document: Document, path: str) -> str:
    return normpath(Path(document.filename).parent / path)


def _workflows_of(document: Document, path: str, field_path: str) -> list[Document]:
    """The Workflows of a file that a test file names."""
    file = _beside(document, path)
    try:
        return [each for each in read_documents(file) if is_leat(each) and kind_of(each) == "Workflow"]
    except Invalid as error:
        if Path(file).exists():
            raise
        line = document.line_of(field_path)
        raise Invalid([Problem(document.filename, line, field_path, f"there is no file {file}")]) from error


@dataclass(slots=True)
class _Reader:
    file: str
    document: Document
    order: Order
    reasons: list[Reason] = field(default_factory=list)

    def case(self, own: CaseSpec, defaults: Common, path: str) -> Case:
        plan = self.order.plan
        inputs: dict[str, Any] = {}
        try:
            inputs = plan.inputs.apply(over(defaults.inputs, own.inputs), f"{path}.inputs")
        except Rejected as rejected:
            self.reasons.extend(rejected.reasons)
        answers = {
            **compiled(defaults.steps, self.order, "defaults.steps", self.reasons),
            **compiled(own.steps, self.order, f"{path}.steps", self.reasons),
        }
        self._names(own.expect, f"{path}.expect")
        self._kinds(defaults.allow, "defaults.allow")
        self._kinds(own.allow, f"{path}.allow")
        functions = [*defaults.functions, *own.functions]
        merged = own.model_copy(
            update={
                "secrets": over(defaults.secrets, own.secrets),
                "allow": [*defaults.allow, *own.allow],
                "now": own.now or defaults.now,
            }
        )
        files = tuple(normpath(Path(self.file).parent / each) for each in functions)
        order = replace(self.order, inputs=inputs)
        return Case(own.name, order, answers, merged, files, self.document.line_of(path))

    def _names(self, expect: Expect, path: str) -> None:
        groups: dict[str, Sequence[str]] = {
            "path": expect.path or (),
            "ran": expect.ran,
            "skipped": expect.skipped,
            "failed": expect.failed,
            "cached": expect.cached,
            "attempts": tuple(expect.attempts),
            "outputs": tuple(expect.outputs),
            "fields": tuple(expect.fields),
        }
        for word, names in groups.items():
            for index, name in enumerate(names):
                problem = address_problem(self.order.plan, name, self.order.at_hand)
                if problem is not None:
                    place = f"[{index}]" if word in {"path", "ran", "skipped", "failed", "cached"} else f".{name}"
                    self.reasons.append(Reason(f"{path}.{word}{place}", problem))

    def _kinds(self, names: Sequence[str], path: str) -> None:
        known = load_models().keys() - PURE_KINDS - IN_TIME.keys()
        for index, name in enumerate(names):
            if name not in known:
                self.reasons.append(Reason(f"{path}[{index}]", unknown("kind with effects", name, known)))


def _cues(spec: CaseSpec) -> Iterator[Cue]:
    for number, told in enumerate(spec.signals):
        yield Cue(None if told.after is None else parse_duration(told.after), _signal(told, number))
    if spec.cancel_after is not None:
        yield Cue(parse_duration(spec.cancel_after), None)


def _signal(told: Told, number: int) -> Signal:
    name = told.signal or told.approve or told.reject or ""
    approve = None if told.signal is not None else told.approve is not None
    groups = tuple(told.groups)
    return Signal(f"told-{number}", name, told.payload, approve, told.comment, told.by or "somebody", groups)
