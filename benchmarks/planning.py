"""Time to plan a suite of 10,000 cases."""

from __future__ import annotations

import statistics
import time

from saving import report

from gpubench import suite as suites
from gpubench.plan import make_plan
from gpubench.spec import DeviceInfo

ROWS = ", ".join(map(str, range(1, 51)))
TEN = ", ".join(map(str, range(1, 11)))
TEXT = f"""
schema: 1
suite: large
benchmarks:
  - name: a
    workload: gemm
    matrix: {{precision: [fp32, bf16], m: [{ROWS}], n: [{TEN}], k: [{TEN}]}}
    baseline: {{precision: fp32}}
    skip: [m > 10000]
"""


def main() -> None:
    device = DeviceInfo("cpu", "any", memory_bytes=2**33)
    parsing, planning = [], []
    for _ in range(9):
        start = time.perf_counter()
        suite = suites.parse(TEXT)
        middle = time.perf_counter()
        cases = len(make_plan(suite, device).cases)
        parsing.append(middle - start)
        planning.append(time.perf_counter() - middle)
    report(
        "planning",
        {
            "cases": cases,
            "parse_s": round(statistics.median(parsing), 4),
            "plan_s": round(statistics.median(planning), 3),
            "bound_s": 1.0,
        },
    )


if __name__ == "__main__":
    main()
