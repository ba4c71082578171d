"""The use cases: run, resume, calibrate, compare, report, doctor.

Parsing and printing belong to ``cli``; everything here can be called from Python.
"""

from gpubench.api.calibrating import calibrate
from gpubench.api.comparing import compare
from gpubench.api.expecting import with_model
from gpubench.api.reporting import (
    documents,
    examine,
    import_documents,
    import_nccl_tests,
    is_nccl_tests,
    report_name,
    select,
    write_report,
)
from gpubench.api.running import (
    Interrupted,
    Listener,
    RunRequest,
    RunResult,
    dry_run,
    flags,
    load_suites,
    resume,
    run,
)

__all__ = [
    "Interrupted",
    "Listener",
    "RunRequest",
    "RunResult",
    "calibrate",
    "compare",
    "documents",
    "dry_run",
    "examine",
    "flags",
    "import_documents",
    "import_nccl_tests",
    "is_nccl_tests",
    "load_suites",
    "report_name",
    "resume",
    "run",
    "select",
    "with_model",
    "write_report",
]
