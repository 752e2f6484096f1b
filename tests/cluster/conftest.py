"""Fixtures of the tests on a real cluster, of which $KUBECONFIG says where it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import Installation, Site, installed
from tests.support.ledger import Ledger, ledger_in


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The packaged chart, installed with images built from this tree."""
    with installed(Site.of_environment(), Path(tmp_path_factory.mktemp("chart"))) as found:
        yield found


@pytest.fixture(scope="session")
def ledger(installation: Installation) -> Ledger:
    """A server in the cluster that keeps account of the effects of steps."""
    return ledger_in(installation)
