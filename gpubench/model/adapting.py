"""What of a network is trained: all of it, low-rank adapters, or the head alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from gpubench.errors import InputError, Unsupported

if TYPE_CHECKING:
    import torch

LORA_RANK: Final = 8
LORA_LAYERS: Final = ("query", "value", "q_proj", "v_proj", "c_attn")
"""Projections of queries and values, where Hu et al. (arXiv:2106.09685) put adapters."""
NEW_HEADS: Final = ("classifier", "score")
"""Heads that a fine-tuning adds: adapters alone would leave them random."""
BLOCKS: Final = 4
"""Parts that a row of layers is cut into for checkpointing."""


def adapted(
    module: torch.nn.Module, *, adapter: str, frozen_backbone: bool, checkpointing: bool,
    again: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Any:  # fmt: skip
    """The module with what is trained marked, and activations to be kept decided.

    Args:
        again: makes the context in which activations are computed again.

    Raises:
        Unsupported: peft is not installed.
        InputError: nothing that could be adapted, or be trained.
    """
    if checkpointing:
        module = _checkpointing(module, again)
    if adapter == "lora":
        return _with_lora(module)
    if frozen_backbone:
        _freeze_backbone(module)
    return module


def _with_lora(module: Any) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise Unsupported("peft is not installed: pip install 'gpubench[models]'") from error
    names = {n.rsplit(".", 1)[-1] for n, _ in module.named_modules()}
    usual = [n for n in LORA_LAYERS if n in names]
    if not usual:
        raise InputError("lora knows no layers of this model", key="adapter")
    config = LoraConfig(
        r=LORA_RANK, target_modules=usual, fan_in_fan_out="c_attn" in usual,
        modules_to_save=[n for n in NEW_HEADS if hasattr(module, n)] or None,
    )  # fmt: skip
    with warnings.catch_warnings():
        # peft asks transformers by a name that the latter calls deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(module, config)


def _freeze_backbone(module: Any) -> None:
    """Only the head keeps gradients.

    Raises:
        InputError: the head shares its weights with the backbone, as language models' do.
    """
    from torch import nn

    if isinstance(module, nn.Sequential):
        head: Any = module[-1]
    else:
        head = getattr(module, "out", None)
    if head is not None:
        module.requires_grad_(False)
        head.requires_grad_(True)
    else:
        module.base_model.requires_grad_(False)
    if not any(p.requires_grad for p in module.parameters()):
        raise InputError(
            "the head shares its weights with the backbone: nothing is left to train",
            key="frozen_backbone", expected="a classification head",
        )  # fmt: skip


def _checkpointing(module: Any, again: Callable[[], AbstractContextManager[Any]]) -> Any:
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), again()

    if not isinstance(module, nn.Sequential):
        newer = hasattr(module, "activation_checkpointing_enable")
        name = "activation_checkpointing_enable" if newer else "gradient_checkpointing_enable"
        getattr(module, name)({"use_reentrant": False, "context_fn": contexts})
        return module

    class Recomputed(nn.Sequential):
        """The same layers, whose activations are kept at the ends of ``BLOCKS`` parts."""

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            layers = list(self)
            size = -(-len(layers) // BLOCKS)
            for start in range(0, len(layers), size):
                part = nn.Sequential(*layers[start : start + size])
                # The last part's activations are needed at once: keeping them costs nothing.
                if start + size >= len(layers):
                    input = part(input)
                else:
                    input = checkpoint(part, input, use_reentrant=False, context_fn=contexts)
            return input

    return Recomputed(*module)
