"""What the operator's process loads."""

import subprocess
import sys


def test_the_operator_starts_without_the_kubernetes_client_libraries_that_kopf_would_load():
    script = "import sys, leat_operator.__main__; print(*(name for name in sys.modules if sys.modules[name]))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "kopf" in loaded
    assert not {"kubernetes", "kubernetes_asyncio", "pykube"} & set(loaded)
