"""Keeps the Kubernetes client libraries out of the operator's process. Imported before kopf, by `__main__` alone.

kopf imports those that are installed, only to recognise their objects when it is handed some. Nobody hands it any here,
and where other rooms of Leat are installed as well, both cost 2 seconds of every start and 100 MB for good.
"""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
for library in ("kubernetes", "kubernetes_asyncio", "pykube"):
    _modules.setdefault(library, None)  # Python's own way to say: not to be imported
