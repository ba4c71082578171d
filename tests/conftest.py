from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(PLUGIN))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests side by side share the cores; more threads than those only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def cuda_missing() -> str | None:
    """Why the tests marked gpu cannot run; None if they can."""
    import torch

    return None if torch.cuda.is_available() else f"no CUDA device (torch {torch.__version__})"


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would begin with the files of most tests, and end with the few long ones.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    missing = cuda_missing()
    for item in items:
        if missing and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's store; workers find the test plugin and the source tree."""
    monkeypatch.setenv("GPUBENCH_STORE", f"sqlite:///{tmp_path / 'results.db'}")
    monkeypatch.setenv("GPUBENCH_SPOOL", str(tmp_path / "spool"))
    paths = [str(PLUGIN), str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in paths if p))


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'results.db'}"
