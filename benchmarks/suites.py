"""How long the suites of models take on a CPU, as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from saving import report

SUITES = ("finetune", "models", "applications")
BOUND_S = {"quick": 40.0, "whole": 120.0}
"""On two cores; a busy machine takes longer, so the load is told beside."""


def timed(suite: str, quick: bool, folder: str) -> dict[str, float]:
    out = Path(folder) / f"{suite}-{quick}.json"
    command = [sys.executable, "-m", "gpubench", "run", suite, "--device", "cpu", "--no-report",
               "--quiet", "--json", str(out), *(["--quick"] if quick else [])]  # fmt: skip
    environment = {**os.environ, "GPUBENCH_STORE": str(Path(folder) / "store.db")}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - start
    records = json.loads(out.read_text())["records"]
    return {
        "wall_s": round(wall_s, 1),
        "measured_cases": sum(r["status"] == "measured" for r in records),
        "load_before": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {
            f"{suite}{' --quick' if quick else ''}": timed(suite, quick, folder)
            for suite in SUITES for quick in (True, False)
        }  # fmt: skip
    report("suites", {"cores": os.cpu_count(), "bound_s": BOUND_S, "suites": found})


if __name__ == "__main__":
    main()
