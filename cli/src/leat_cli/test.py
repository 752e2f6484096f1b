"""`leat test`: what workflows do when their steps give this or that, with nothing executed and no time spent."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli.output import Format, print_value
from leat_cli.problems import Exit, Invalid, Problem

if TYPE_CHECKING:
    from leat_cli.testing.cases import Suite, Verdict
    from leat_cli.testing.coverage import Coverage


class Form(StrEnum):
    """Forms of a result that programs read."""

    JSON = "json"
    YAML = "yaml"
    JUNIT = "junit"


def test(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE...]", help="Test files, or folders with *.test.yaml in them; this one."),
    ] = None,
    *,
    coverage_min: Annotated[
        float, typer.Option("--coverage-min", metavar="PERCENT", min=0, max=100, help="Fail below it, per workflow.")
    ] = 0,
    output: Annotated[Form | None, typer.Option("--output", "-o", help="For programs, on stdout.")] = None,
) -> None:
    """Test workflows: steps give what a test file says, time is skipped, and what comes of it is looked at.

    Exits with 0 when every case passes, 1 when one does not or too little is covered, 2 when a file is wrong.
    """
    from leat_cli.testing import report
    from leat_cli.testing.cases import load, test_files

    suites: list[Suite] = []
    problems: list[Problem] = []
    for file in test_files(files or []):
        try:
            suites.append(load(file))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(problems)
    coverages: dict[tuple[str, str], tuple[Suite, Coverage]] = {}
    played = [(suite, _play(suite, coverages, quiet=output is not None)) for suite in suites]
    verdicts = [verdict for _, found in played for verdict in found]
    covered = [coverage for _, coverage in coverages.values()]
    if output is Form.JUNIT:
        typer.echo(report.as_junit(played), nl=False)
    elif output is not None:
        print_value(report.as_json(verdicts, covered), Format(output.value))
    else:
        for suite, coverage in coverages.values():
            for line in report.uncovered(suite, coverage):
                typer.echo(line)
    typer.echo(report.summary(verdicts), err=True)
    low = [coverage for coverage in covered if coverage.percent < coverage_min]
    for coverage in low:
        typer.echo(
            f"{coverage.workflow}: {coverage.percent:.1f} % of its branches, expected {coverage_min:g}", err=True
        )
    raise typer.Exit(Exit.FAILED if low or not all(verdict.passed for verdict in verdicts) else Exit.OK)


def _play(
    suite: "Suite", coverages: "dict[tuple[str, str], tuple[Suite, Coverage]]", *, quiet: bool
) -> "list[Verdict]":
    """Play the cases of a file, one after the other, and say how each went."""
    from leat_cli.testing import report
    from leat_cli.testing.coverage import Coverage, branches

    place = (suite.workflow.filename, suite.order.workflow)
    _, coverage = coverages.setdefault(place, (suite, Coverage(suite.order.workflow, branches(suite.order.plan))))
    verdicts: list[Verdict] = []
    if not quiet:
        typer.echo(report.heading(suite))
    width = max(len(case.name) for case in suite.cases)
    for case in suite.cases:
        verdict = case.play()
        coverage.add(verdict.score)
        verdicts.append(verdict)
        for line in () if quiet else report.lines(verdict, width):
            typer.echo(line)
    return verdicts
