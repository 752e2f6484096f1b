"""Write what is generated from the models: CRDs, editor schemas, reference pages, the chart. ``--check`` compares."""

import sys
from pathlib import Path

from generating.argocd import argocd_files
from generating.chart import chart_files
from generating.crds import crd_files
from generating.editor import schema_files
from generating.reference import reference_files

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write the files, or name those that are stale; then the exit code is 1."""
    files = crd_files() | schema_files() | reference_files() | argocd_files() | chart_files()
    stale = [path for path, text in files.items() if not (ROOT / path).is_file() or (ROOT / path).read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path} is stale. Run: make generate")
        return 1 if stale else 0
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(files[path])
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
