from __future__ import annotations

import pytest

from gpubench.devices.cpu import CpuDevice
from gpubench.errors import InputError
from gpubench.workloads.memcpy import Memcpy
from tests.builders import A100, CPU


def test_within_a_device_bytes_are_read_and_written() -> None:
    assert Memcpy(1000).work().bytes == 2000
    assert Memcpy(1000, direction="h2d").work().bytes == 1000
    assert Memcpy(1000).work().flops == 0


def test_every_byte_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    device = CpuDevice()
    made = Memcpy(4096)
    assert made.check(device, 1, "normal").ok
    import torch

    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, *_a, **_k: self)
    assert not made.check(device, 1, "normal").ok


def test_build_copies() -> None:
    call = Memcpy(64).build(CpuDevice(), 1, "normal")
    out = call()
    assert out.sum() == 64  # type: ignore[attr-defined]


def test_transfers_need_a_gpu() -> None:
    assert Memcpy(8).unsupported(CPU) is None
    assert "no GPU" in str(Memcpy(8, direction="h2d").unsupported(CPU))
    assert Memcpy(8, direction="h2d").unsupported(A100) is None


def test_identity_and_label() -> None:
    m = Memcpy.from_params({"bytes": 64e6}, "fp32")
    assert m.identity() == {"bytes": 64_000_000}
    assert Memcpy(2**26).label() == "64.0 MiB d2d"
    assert Memcpy(2**30, direction="h2d", pinned=False).label() == "1.00 GiB h2d pageable"


@pytest.mark.parametrize(
    ("params", "key"),
    [({}, "bytes"), ({"bytes": 1}, "bytes"), ({"bytes": 8, "direction": "up"}, "direction"),
     ({"bytes": 8, "pinned": 1}, "pinned"), ({"bytes": 8, "size": 3}, "size")],
)  # fmt: skip
def test_bad_parameters(params: dict[str, object], key: str) -> None:
    with pytest.raises(InputError) as caught:
        Memcpy.from_params(params, "fp32")  # type: ignore[arg-type]
    assert caught.value.key == key
