"""What `leat test` says: to people, and to programs. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from leat_cli.rehearsal.score import spent
from leat_cli.testing.cases import Suite, Verdict
from leat_cli.testing.coverage import Coverage


def heading(suite: Suite) -> str:
    """The line above the cases of a file."""
    return f"{suite.file}: workflow {suite.order.workflow}"


def lines(verdict: Verdict, width: int) -> Iterator[str]:
    """The line of a case, its name in so many characters, and what is wrong with it."""
    word = "ok" if verdict.passed else "ERROR" if verdict.problems else "FAIL"
    score = verdict.score
    ran = sum(course.ran for course in score.courses.values())
    what = f"{score.label}, {ran} step{'' if ran == 1 else 's'}, {spent(score.seconds)}"
    yield f"  {word:5} {verdict.case.name:{width}}  {what}"
    for problem in verdict.problems:
        yield f"        {problem}"
    for difference in verdict.differences:
        yield f"        {difference.path}: expected {difference.expected}"
        yield f"        {' ' * len(difference.path)}     found {difference.found}"


def uncovered(suite: Suite, coverage: Coverage) -> Iterator[str]:
    """How much of a workflow was tested, and what was not."""
    every, missing = len(coverage.every), coverage.missing
    yield f"{coverage.workflow}: {every - len(missing)} of {every} branches, {coverage.percent:.0f} %"
    for branch in missing:
        place = f"{suite.workflow.filename}:{suite.workflow.line_of(branch.path)}"
        yield f"  {place}: {branch.path}: {branch.step} {branch.message}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """The last line."""
    counts = {
        "passed": sum(verdict.passed for verdict in verdicts),
        "failed": sum(bool(verdict.differences) for verdict in verdicts),
        "with errors": sum(bool(verdict.problems) for verdict in verdicts),
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count or word == "passed")


def as_json(verdicts: Sequence[Verdict], coverages: Sequence[Coverage]) -> dict[str, Any]:
    """``{cases: [{name, workflow, passed, phase, seconds, path, differences, problems}], coverage: [...]}``."""
    return {
        "cases": [
            {
                "name": verdict.case.name,
                "workflow": verdict.case.order.workflow,
                "passed": verdict.passed,
                "phase": verdict.score.label,
                "seconds": verdict.score.seconds,
                "path": verdict.score.path,
                "differences": [
                    {"path": each.path, "expected": each.expected, "found": each.found} for each in verdict.differences
                ],
                "problems": list(verdict.problems),
            }
            for verdict in verdicts
        ],
        "coverage": [
            {
                "workflow": coverage.workflow,
                "branches": len(coverage.every),
                "percent": round(coverage.percent, 1),
                "missing": [
                    {"path": branch.path, "step": branch.step, "message": branch.message} for branch in coverage.missing
                ],
            }
            for coverage in coverages
        ],
    }


def as_junit(suites: Sequence[tuple[Suite, Sequence[Verdict]]]) -> str:
    """A JUnit report, as continuous integration reads it. Times are those that the tests took."""
    root = Element("testsuites")
    for suite, verdicts in suites:
        counts = {
            "tests": len(verdicts),
            "failures": sum(bool(verdict.differences) for verdict in verdicts),
            "errors": sum(bool(verdict.problems) for verdict in verdicts),
        }
        element = SubElement(root, "testsuite", {"name": suite.file, **{key: str(n) for key, n in counts.items()}})
        for verdict in verdicts:
            case = SubElement(
                element, "testcase", name=verdict.case.name, classname=suite.order.workflow, file=suite.file,
                line=str(verdict.case.line), time=f"{verdict.took:.4f}",
            )  # fmt: skip
            for tag, found in (("failure", verdict.differences), ("error", verdict.problems)):
                if found:
                    said = SubElement(case, tag, message=str(found[0]))
                    said.text = "\n".join(map(str, found))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"
