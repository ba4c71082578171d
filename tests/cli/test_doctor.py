from __future__ import annotations

import json

from gpubench.engine.doctor import STATUSES
from tests.cli.command import gpubench


def test_doctor_finds_and_mends() -> None:
    done = gpubench("doctor")
    assert done.returncode == 0, done.stderr
    assert "can measure:" in done.stdout
    findings = json.loads(gpubench("doctor", "--format", "json").stdout)
    assert {"torch", "driver", "CPU", "disk", "switches"} <= {f["check"] for f in findings}
    assert [STATUSES.index(f["status"]) for f in findings] == sorted(
        STATUSES.index(f["status"]) for f in findings
    )
    assert all(f["mend"] for f in findings if f["status"] in ("bad", "warn"))
