"""The shipped catalogue says what the code says, and lists what plugins add."""

from __future__ import annotations

import json
import subprocess
import sys

from evalkit.plugins import CATALOG_PATH


def test_the_shipped_catalogue_is_fresh() -> None:
    source = (
        "import json, sys; from evalkit.catalog import build_catalog; json.dump(build_catalog(), sys.stdout)"
    )
    built = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert json.loads(built) == json.loads(CATALOG_PATH.read_text()), "run: python -m evalkit.catalog"


def test_everything_builtin_is_documented() -> None:
    catalog = json.loads(CATALOG_PATH.read_text())
    assert {"gsm", "mmlu", "arithmetic"} <= {entry["name"] for entry in catalog["run_spec"]}
    for kind, entries in catalog.items():
        for entry in entries:
            assert entry["doc"], f"{kind} {entry['name']} has no docstring"
            for parameter in entry["params"]:
                assert parameter["doc"] or kind == "expander", f"{kind} {entry['name']}: {parameter['name']}"
