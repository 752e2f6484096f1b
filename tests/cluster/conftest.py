"""Fixtures of the tests on a real cluster, of which $KUBECONFIG says where it is."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import Installation, Site, installed
from tests.support.ledger import Ledger, ledger_in


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What brings an operator of its own comes first: that of the release answers for all namespaces.

    The rest is in the order of the alphabet, which ends with the release's removal.
    """
    items.sort(key=lambda item: "installation" in getattr(item, "fixturenames", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell how long each file took: with whom a lane that becomes slow has to speak."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[Path(report.fspath).name] += report.duration
    terminalreporter.section("seconds of each file")
    for name, duration in seconds.most_common():
        terminalreporter.write_line(f"{duration:7.1f} {name}")


@pytest.fixture(scope="session")
def site() -> Site:
    """The cluster, and what is at hand there."""
    return Site.of_environment()


@pytest.fixture(scope="session")
def installation(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The packaged chart, installed with images built from this tree."""
    with installed(site, Path(tmp_path_factory.mktemp("chart"))) as found:
        yield found


@pytest.fixture(scope="session")
def ledger(installation: Installation) -> Ledger:
    """A server in the cluster that keeps account of the effects of steps."""
    return ledger_in(installation)
