"""Ranking recommendations: a user's history is read by a transformer, candidates are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from gpubench.errors import InputError
from gpubench.ports import Device
from gpubench.record import Accuracy, Fact
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Work
from gpubench.workloads.operands import rel_error, seeded, seeded_weights, torch_dtype
from gpubench.workloads.parameters import Declared, sized

if TYPE_CHECKING:
    import torch

HEADS: Final = 4
HIDDEN: Final = 4
"""Width of the feed-forward layers over that of the embeddings."""
PRECISIONS: Final = ("fp32", "tf32", "fp16", "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Declared):
    """Scores of ``candidates`` items for each of ``users``, from one table of item embeddings.

    The history of ``history`` items goes through two transformer layers to one vector a user;
    a candidate's score is its dot product with that vector.
    """

    name: ClassVar[str] = "ranking"

    precision: str
    users: int = sized("users at once", 16)
    candidates: int = sized("items scored for each user", 1000)
    items: int = sized("rows of the table", 1_000_000)
    history: int = sized("items a user has seen", 50)
    dim: int = sized("features of an item", 128)

    def refuse_impossible(self) -> None:
        """Heads divide the features.

        Raises:
            InputError: they do not.
        """
        if self.dim % HEADS:
            raise InputError(f"{self.dim} features", key="dim", expected=f"a multiple of {HEADS}")

    def label(self) -> str:
        """E.g. ``16x1000 of 1000000x128``."""
        return f"{self.users}x{self.candidates} of {self.items}x{self.dim}"

    def work(self) -> Work:
        """Products of encoder and scores; rows looked up, read and written once."""
        tokens, d = self.users * self.history, self.dim
        layer = 2.0 * tokens * d * d * (4 + 2 * HIDDEN) + 4.0 * tokens * self.history * d
        element = ELEMENT_BYTES[self.precision]
        looked_up = self.users * (self.candidates + self.history) * d
        return Work(
            flops=2 * layer + 2.0 * self.users * self.candidates * d,
            bytes=float(2 * element * looked_up),
            footprint_bytes=float(element * (self.items * d + 2 * looked_up)),
            formula="2 layers of 2 * tokens * dim^2 * 12 + 4 * tokens * history * dim; 2 a score",
        )

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Precisions it does not run in."""
        del device
        return None if self.precision in PRECISIONS else f"ranking runs in {', '.join(PRECISIONS)}"

    def build(self, device: Device, seed: int, data: str) -> Ranker:
        """Table, encoder and requests on the device, and a call that scores them."""
        del data
        return Ranker(self, device, seed)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """All scores against the same table and encoder in FP64."""
        del data
        ranker = Ranker(self, device, seed)
        scores = ranker()
        device.synchronize()
        reference = ranker.scored(lambda t: t.double())
        tolerance = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}[self.precision]
        return Accuracy(rel_error(scores, reference), tolerance, "the same network in FP64")


class Ranker:
    """A table, an encoder and requests; calling it scores the candidates."""

    def __init__(self, spec: Ranking, device: Device, seed: int) -> None:
        import torch

        self._spec = spec
        target, dtype = device.info.torch_name, torch_dtype(spec.precision)
        generator = seeded(device, seed)
        with seeded_weights(device, seed):
            layer = torch.nn.TransformerEncoderLayer(
                spec.dim, HEADS, HIDDEN * spec.dim, dropout=0.0, batch_first=True,
                device=target, dtype=dtype,
            )  # fmt: skip
            self._encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
        self._table = torch.empty(spec.items, spec.dim, device=target, dtype=dtype)
        self._table.normal_(generator=generator)

        def ids(count: int) -> torch.Tensor:
            shape = (spec.users, count)
            return torch.randint(spec.items, shape, generator=generator, device=target)

        self._history, self._candidates = ids(spec.history), ids(spec.candidates)

    def __call__(self) -> torch.Tensor:
        """Scores, users x candidates."""
        return self.scored(lambda t: t)

    def scored(self, cast: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Scores with the rows looked up cast first; the encoder follows."""
        import copy

        import torch

        with torch.no_grad():
            rows = cast(self._table[self._history])
            encoder = self._encoder
            if rows.dtype != self._table.dtype:
                encoder = copy.deepcopy(encoder).to(rows.dtype)
            user = encoder(rows)[:, -1]
            items = cast(self._table[self._candidates])
            found: torch.Tensor = torch.bmm(items, user[:, :, None])[:, :, 0]
        return found

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """How many candidates a call scores; the rate follows from the time."""
        del device
        return {"ranking.candidates": self._spec.users * self._spec.candidates}
