"""Time to the first answer: ``gpubench --help`` against ``python -c "import click"``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from saving import report

ROUNDS = 40
COMMANDS = {
    "import click": [sys.executable, "-c", "import click"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "gpubench --help": [sys.executable, "-m", "gpubench", "--help"],
    "gpubench run --help": [sys.executable, "-m", "gpubench", "run", "--help"],
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_number in range(ROUNDS + 2):
        # Interleaved, so that drift of the machine meets all of them alike.
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if round_number >= 2:  # the first rounds fill the page cache
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(t) for name, t in times.items()}
    modules = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gpubench", "--help"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    heavy = [m for m in ("torch", "pandas", "plotly", "pynvml") if f"| {m}\n" in modules]
    report(
        "startup",
        {
            "rounds": ROUNDS,
            "median_s": {n: round(t, 4) for n, t in medians.items()},
            "help_over_import_click": round(
                medians["gpubench --help"] / medians["import click"], 2
            ),
            "bound": 2.5,
            "heavy_modules_imported": heavy,
        },
    )


if __name__ == "__main__":
    main()
