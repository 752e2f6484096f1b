"""What Flux, Helm and `kubectl` plugins make of our statuses: kstatus itself, over the statuses that Leat writes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.statuses import cases

PROGRAM = Path(__file__).parents[2] / "hack" / "tools" / "kstatus"

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="kstatus is a Go library, and there is no Go here")


@pytest.fixture(scope="module")
def kstatus(tmp_path_factory):
    program = tmp_path_factory.mktemp("kstatus") / "kstatus"
    subprocess.run(["go", "build", "-o", program, "."], cwd=PROGRAM, check=True, timeout=600)

    def judge(resources):
        lines = "".join(json.dumps(resource) + "\n" for resource in resources)
        done = subprocess.run([program], input=lines, check=True, capture_output=True, text=True, timeout=60)
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    return judge


def test_kstatus_reads_every_status_right(kstatus):
    found = dict(zip([case.name for case in cases()], kstatus([case.resource for case in cases()]), strict=True))
    assert found == {case.name: case.kstatus for case in cases()}
