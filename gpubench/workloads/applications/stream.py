"""Classifying a stream of texts: latency under load, with requests that wait for nobody.

Requests arrive at random (a Poisson process) at a rate of their own, whether or not the last
one is done: an open loop. One that waits for the answer before it asks again would hide every
queue (Tene, "How NOT to measure latency").
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.model.networks import TRANSFORMERS, build
from gpubench.ports import Device, Tell, unheard
from gpubench.record import Accuracy, Fact
from gpubench.spec import DeviceInfo, Work
from gpubench.stats import quantile
from gpubench.workloads.operands import rel_error, seeded_weights, torch_dtype
from gpubench.workloads.parameters import Declared, chosen, sized

if TYPE_CHECKING:
    import torch

MODELS: Final = tuple(n for n, (kind, _, _) in TRANSFORMERS.items() if kind == "bert")
INSTALL: Final = "pip install 'gpubench[models]'"
PRECISIONS: Final = ("fp32", "tf32", "fp16", "bf16")
LOADS: Final = (0.3, 0.6, 0.8, 1.0, 1.2)
"""Rates tried, as shares of what the server can do with no gap between requests."""
BREAKS_AT: Final = 5.0
"""A p99 above this many times the service time: the rate is too much."""
LEAST_REQUESTS: Final = 50
HALVINGS: Final = 3
"""Times that the step between the last rate held and the first that broke is halved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Declared):
    """Sentiment (two classes) of one text a request; the time of a call is the service time."""

    name: ClassVar[str] = "stream"

    precision: str
    model: str = chosen("a BERT", MODELS, "bert-base")
    seq_len: int = sized("tokens of a text", 128, most=512)
    seconds: int = sized("seconds of requests at each rate", 2, most=600)

    def label(self) -> str:
        """E.g. ``bert-base 1x128``."""
        return f"{self.model} 1x{self.seq_len}"

    def work(self) -> Work | None:
        """Not counted; workload ``model`` counts the same step."""
        return None

    def unsupported(self, device: DeviceInfo) -> str | None:
        """What is missing to run it."""
        del device
        if find_spec("transformers") is None:
            return f"stream needs the models extra: {INSTALL}"
        return None if self.precision in PRECISIONS else f"stream runs in {', '.join(PRECISIONS)}"

    def build(self, device: Device, seed: int, data: str) -> Server:
        """The network on the device and a call that classifies one text."""
        del data
        return Server(self, device, seed)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Scores of a text against the same network in FP64."""
        del data
        server = Server(self, device, seed)
        scores = server().clone()
        device.synchronize()
        server.module.double()
        reference = server()
        tolerance = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 5e-2, "bf16": 2e-1}[self.precision]
        return Accuracy(rel_error(scores, reference), tolerance, "the same network in FP64")


class Server:
    """A network and a text; calling it classifies the text."""

    def __init__(self, spec: Stream, device: Device, seed: int) -> None:
        import torch

        self._spec, self._seed = spec, seed
        self.tell: Tell = unheard
        target = device.info.torch_name
        with seeded_weights(device, seed):
            network = build(
                spec.model, batch=1, seq_len=spec.seq_len, head="sequence-classification",
                attention="sdpa", device=target,
            )  # fmt: skip
        module: Any = network.module
        self.module = module.eval().to(torch_dtype(spec.precision))
        generator = torch.Generator().manual_seed(seed)
        words = int(self.module.config.vocab_size)
        self._text = torch.randint(words, (1, spec.seq_len), generator=generator).to(target)

    def __call__(self) -> torch.Tensor:
        """Scores of the two classes."""
        import torch

        with torch.no_grad():
            scores: torch.Tensor = self.module(self._text).logits
        return scores

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """Percentiles of latency by rate, and the rate at which p99 breaks."""

        def serve() -> None:
            self()
            device.synchronize()

        service_s = quantile(sorted(_timed(serve) for _ in range(20)), 0.5)
        facts: dict[str, Fact] = {
            "stream.service_s": service_s,
            "stream.capacity_per_s": 1 / service_s,
        }

        def breaks(load: float) -> bool:
            rate = load / service_s
            count = max(LEAST_REQUESTS, round(rate * self._spec.seconds))
            latencies = sorted(open_loop(serve, arrivals(rate, count, self._seed)))
            p99 = quantile(latencies, 0.99)
            facts[f"stream.p50_s_at_{load:.3g}"] = quantile(latencies, 0.5)
            facts[f"stream.p99_s_at_{load:.3g}"] = p99
            return p99 > BREAKS_AT * service_s

        at = breaking_load(breaks, self.tell)
        facts["stream.breaks_at_per_s"] = None if at is None else at / service_s
        return facts


def breaking_load(breaks: Callable[[float], bool], tell: Tell = unheard) -> float | None:
    """The least load that breaks, within an eighth of the step between those of ``LOADS``.

    All of ``LOADS`` are tried; the first step into trouble is halved ``HALVINGS`` times.
    """
    rounds = len(LOADS) + HALVINGS
    low, high = 0.0, None
    for turn, load in enumerate(LOADS):
        tell(f"requests at {load:.0%} of capacity", turn, rounds)
        if not breaks(load):
            low = load if high is None else low
        elif high is None:
            high = load
    if high is None:
        return None
    for turn in range(HALVINGS):
        middle = (low + high) / 2
        tell(f"requests at {middle:.0%} of capacity", len(LOADS) + turn, rounds)
        if breaks(middle):
            high = middle
        else:
            low = middle
    return high


def _timed(serve: Callable[[], None]) -> float:
    start = time.perf_counter()
    serve()
    return time.perf_counter() - start


def arrivals(rate_per_s: float, count: int, seed: int) -> list[float]:
    """Times of ``count`` requests of a Poisson process, in seconds from its start."""
    rng, now, found = random.Random(seed), 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate_per_s)
        found.append(now)
    return found


def open_loop(
    serve: Callable[[], None], due_s: Sequence[float],
    clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep,
) -> list[float]:  # fmt: skip
    """Latency of each request from when it was due: waiting for earlier ones is part of it."""
    begun, found = clock(), []
    for due in due_s:
        early = begun + due - clock()
        if early > 0:
            sleep(early)
        serve()
        found.append(clock() - (begun + due))
    return found
