"""Networks of whole steps: built-in ones, and Hugging Face configurations.

The cost model traces them on the meta device, the workload ``model`` runs them on a real
one. Random weights, nothing is downloaded. Only the bodies of functions import torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpubench.errors import InputError, UnknownName

if TYPE_CHECKING:
    import torch

HEADS: Final = (
    "token-classification", "sequence-classification", "pretraining", "causal-lm",
    "image-classification",
)  # fmt: skip
TRANSFORMERS: Final[Mapping[str, tuple[str, Mapping[str, Any], str]]] = {
    "bert-base": ("bert", {}, "sequence-classification"),
    "bert-large": (
        "bert",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
         "intermediate_size": 4096},
        "sequence-classification",
    ),
    "bert-tiny": (
        "bert",
        {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 512},
        "sequence-classification",
    ),
    "gpt2": ("gpt2", {}, "causal-lm"),
    "gpt2-tiny": ("gpt2", {"n_embd": 128, "n_layer": 2, "n_head": 2}, "causal-lm"),
    "gpt2-large": ("gpt2", {"n_embd": 1280, "n_layer": 36, "n_head": 20}, "causal-lm"),
    "opt-1.3b": (
        "opt",
        {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32,
         "ffn_dim": 8192, "word_embed_proj_dim": 2048},
        "causal-lm",
    ),
}  # fmt: skip
"""Name -> (model type, what differs from that type's defaults, default head)."""
VISION: Final = ("alexnet", "resnet50", "vae")
RECURRENT: Final = ("lstm", "gru")
BUILT_IN: Final = (*TRANSFORMERS, *VISION, *RECURRENT)
TEXT_TOKENS: Final = 512
RECURRENT_STEPS: Final = 128
"""Lengths of a sample where none is given."""
NER_LABELS: Final = 9
"""B and I of four kinds of entity, and O, as in CoNLL-2003."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network with its inputs and a loss, on one device.

    Inputs are there for their shapes and types; their values mean nothing.

    Attributes:
        module: the network.
        inputs: keyword arguments of one forward pass.
        loss: of the outputs; what training differentiates.
    """

    module: torch.nn.Module
    inputs: Mapping[str, Any]
    loss: Callable[[Any], torch.Tensor]


def build(
    name: str, *, batch: int, seq_len: int | None, head: str | None, attention: str,
    device: str = "meta",
) -> Network:  # fmt: skip
    """A network by its built-in name or the path of a Hugging Face ``config.json``.

    Args:
        batch: samples in a step.
        seq_len: tokens a sample (text), steps (lstm); ignored by image networks.
        head: one of ``HEADS``; None for the network's own.
        attention: ``eager`` or ``sdpa``.
        device: where it is made; on ``meta`` it takes no memory.

    Raises:
        InputError: unknown name, unreadable configuration, missing extra; with near misses.
    """
    if head is not None and head not in HEADS:
        raise UnknownName("head", head, HEADS).at(key="head")
    if attention not in ("eager", "sdpa"):
        raise UnknownName("attention", attention, ("eager", "sdpa")).at(key="attention")
    if name in VISION:
        return _vision(name, batch, device)
    if name in RECURRENT:
        return _recurrent(name, batch, seq_len or RECURRENT_STEPS, device)
    if name in TRANSFORMERS:
        kind, changes, own_head = TRANSFORMERS[name]
        config = _config(kind, changes)
        return _transformer(
            config, batch, seq_len or TEXT_TOKENS, head or own_head, attention, device
        )
    if is_path(name):
        return _transformer(
            _config_file(Path(name)), batch, seq_len or TEXT_TOKENS, head or "causal-lm",
            attention, device,
        )  # fmt: skip
    raise UnknownName("model", name, BUILT_IN).at(key="model")


def generates(name: str) -> bool:
    """Whether a built-in network is a causal language model."""
    return name in TRANSFORMERS and TRANSFORMERS[name][2] == "causal-lm"


def is_path(name: str) -> bool:
    """Whether a model's name is the path of a configuration."""
    return name.endswith(".json") or "/" in name


# ---------------------------------------------------------------- transformers


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            "transformers is not installed", expected="pip install 'gpubench[models]'"
        ) from error
    return transformers


def _config(kind: str, changes: Mapping[str, Any]) -> Any:
    return _transformers().AutoConfig.for_model(kind, **changes)


def read_config(path: Path) -> dict[str, Any]:
    """A configuration as it stands in its file.

    Raises:
        InputError: it cannot be read, is no JSON object or names no model type.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", file=str(path)) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"not a JSON configuration: {error}", file=str(path)) from error
    if not isinstance(data, dict) or "model_type" not in data:
        raise InputError("no 'model_type'", file=str(path), expected="a Hugging Face config.json")
    return data


def _config_file(path: Path) -> Any:
    data = read_config(path)
    kind = str(data.pop("model_type"))
    known = _transformers().models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if kind not in known:
        raise UnknownName("model_type", kind, known).at(file=str(path))
    try:
        return _config(kind, data)
    except (TypeError, ValueError) as error:
        raise InputError(f"the configuration does not fit: {error}", file=str(path)) from error


_HEAD_CLASSES: Final[Mapping[str, str]] = {
    "token-classification": "AutoModelForTokenClassification",
    "sequence-classification": "AutoModelForSequenceClassification",
    "pretraining": "AutoModelForPreTraining",
    "causal-lm": "AutoModelForCausalLM",
}


def _transformer(
    config: Any, batch: int, seq_len: int, head: str, attention: str, device: str
) -> Network:
    import torch

    if head not in _HEAD_CLASSES:
        raise InputError(f"head {head!r} is not for text", key="head")
    if head == "sequence-classification" and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0  # such heads look for the last token that is no padding
    if head == "token-classification":
        config.num_labels = NER_LABELS
    limit = getattr(config, "max_position_embeddings", None) or seq_len
    if seq_len > limit:
        raise InputError(
            f"{seq_len} tokens", key="seq_len", expected=f"at most {limit}, the model's positions"
        )
    maker = getattr(_transformers(), _HEAD_CLASSES[head])
    try:
        with torch.device(device):
            module = maker.from_config(config, attn_implementation=attention)
    except (ValueError, TypeError) as error:
        raise InputError(f"no {head} head for this model: {error}", key="head") from error
    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False
    tokens = torch.zeros(batch, seq_len, dtype=torch.int64, device=device)
    return Network(module, {"input_ids": tokens}, _language_loss)


def _language_loss(outputs: Any) -> torch.Tensor:
    """Cross entropy over every position of every head."""
    import torch.nn.functional as F  # noqa: N812

    names = ("logits", "prediction_logits", "seq_relationship_logits")
    total = None
    for name in names:
        logits = getattr(outputs, name, None)
        if logits is None:
            continue
        flat = logits.reshape(-1, logits.shape[-1])
        target = flat.new_zeros(flat.shape[0]).long()
        loss = F.cross_entropy(flat.float(), target)
        total = loss if total is None else total + loss
    if total is None:
        raise InputError("the model's outputs have no logits to train on")
    return total


# ---------------------------------------------------------------- images and sequences


def _vision(name: str, batch: int, device: str) -> Network:
    import torch
    import torch.nn.functional as F  # noqa: N812

    with torch.device(device):
        if name == "vae":
            images = torch.zeros(batch, 784)
            return Network(_vae(), {"x": images}, _vae_loss)
        module = alexnet() if name == "alexnet" else resnet50()
        images = torch.zeros(batch, 3, 224, 224)
        target = torch.zeros(batch, dtype=torch.int64)
    return Network(module, {"input": images}, lambda out: F.cross_entropy(out.float(), target))


def alexnet(classes: int = 1000) -> torch.nn.Module:
    """AlexNet for one GPU (Krizhevsky, arXiv:1404.5997), 61.1 M parameters."""
    from torch import nn

    def block(*convolution: int, pool: bool) -> list[nn.Module]:
        c_in, c_out, kernel, stride, padding = convolution
        layers: list[nn.Module] = [
            nn.Conv2d(c_in, c_out, kernel, stride, padding),
            nn.ReLU(inplace=True),
        ]
        return [*layers, nn.MaxPool2d(3, 2)] if pool else layers

    return nn.Sequential(
        *block(3, 64, 11, 4, 2, pool=True),
        *block(64, 192, 5, 1, 2, pool=True),
        *block(192, 384, 3, 1, 1, pool=False),
        *block(384, 256, 3, 1, 1, pool=False),
        *block(256, 256, 3, 1, 1, pool=True),
        nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Linear(4096, classes),
    )  # fmt: skip


def resnet50(classes: int = 1000) -> torch.nn.Module:
    """ResNet-50 with the stride in the 3x3 convolution (v1.5), 25.6 M parameters.

    He et al., arXiv:1512.03385, table 1.
    """
    import torch
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, c_in: int, width: int, stride: int) -> None:
            super().__init__()
            out = 4 * width
            self.body = nn.Sequential(
                nn.Conv2d(c_in, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
                nn.ReLU(True),
                nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out),
            )  # fmt: skip
            shortcut = [nn.Conv2d(c_in, out, 1, stride, bias=False), nn.BatchNorm2d(out)]
            self.shortcut = (
                nn.Sequential(*shortcut) if stride != 1 or c_in != out else nn.Identity()
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            added: torch.Tensor = self.body(x) + self.shortcut(x)
            return torch.relu_(added)

    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    c_in = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            layers.append(Bottleneck(c_in, width, stride if i == 0 else 1))
            c_in = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, classes))


def _vae() -> torch.nn.Module:
    """A variational autoencoder of dense layers (Kingma and Welling, arXiv:1312.6114)."""
    import torch
    from torch import nn

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU())
            self.mean, self.log_variance = nn.Linear(400, 20), nn.Linear(400, 20)
            self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            h = self.encoder(x)
            mean, log_variance = self.mean(h), self.log_variance(h)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
            return x, torch.sigmoid(self.decoder(z)), mean, log_variance

    return Vae()


def _vae_loss(outputs: Any) -> torch.Tensor:
    import torch.nn.functional as F  # noqa: N812

    x, out, mean, log_variance = outputs
    reconstruction = F.binary_cross_entropy(out.to(x.dtype), x, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
    total: torch.Tensor = reconstruction + divergence
    return total


def _recurrent(
    cell: str, batch: int, steps: int, device: str, hidden: int = 650, tokens: int = 10_000
) -> Network:
    """A language model of two recurrent layers of 650.

    With LSTM cells it is Zaremba et al., arXiv:1409.2329, medium; GRU in their place.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(tokens, hidden)
            layers = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
            self.layers = layers(hidden, hidden, 2, batch_first=True, dropout=0.5)
            self.out = nn.Linear(hidden, tokens)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.out(self.layers(self.embedding(ids))[0])
            return logits

    with torch.device(device):
        module, ids = Recurrent(), torch.zeros(batch, steps, dtype=torch.int64)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        flat = logits.reshape(-1, tokens)
        return F.cross_entropy(flat.float(), flat.new_zeros(flat.shape[0]).long())

    return Network(module, {"ids": ids}, loss)
