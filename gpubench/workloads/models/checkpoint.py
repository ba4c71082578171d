"""Weights from a file of the user's, of which none may run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from gpubench.errors import InputError

SAFE = "safetensors, or a state dict that torch.load(weights_only=True) reads"


def load_weights(module: Any, place: str) -> None:
    """Load what fits of a checkpoint: a file, or a folder with ``*.safetensors``.

    Raises:
        InputError: not there, unreadable, holding pickled code, or of another model.
    """
    import torch

    path = Path(place)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise InputError("no weights in this folder", file=place, expected="*.safetensors")
    state: dict[str, Any] = {}
    for file in files:
        state |= _read(file)
    known = dict(module.state_dict())
    prefix = getattr(module, "base_model_prefix", "")
    if prefix and not any(name in known for name in state):
        state = {f"{prefix}.{name}": value for name, value in state.items()}
    fitting = {
        n: v
        for n, v in state.items()
        if n in known and isinstance(v, torch.Tensor) and v.shape == known[n].shape
    }
    if not fitting:
        raise InputError(
            f"none of its {len(state)} tensors fits this model", file=place,
            expected=f"names and shapes such as {next(iter(known))}",
        )  # fmt: skip
    module.load_state_dict(fitting, strict=False)


def _read(file: Path) -> dict[str, Any]:
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load_file

            try:
                return dict(load_file(str(file)))
            except SafetensorError as error:
                raise InputError(f"not safetensors: {error}", file=str(file)) from error
        found = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", file=str(file)) from error
    except pickle.UnpicklingError as error:
        raise InputError("holds pickled code", file=str(file), expected=SAFE) from error
    except (RuntimeError, EOFError) as error:
        first = (str(error).splitlines() or ["no message"])[0]
        raise InputError(f"not a checkpoint: {first}", file=str(file), expected=SAFE) from error
    if not isinstance(found, dict):
        raise InputError(f"holds a {type(found).__name__}", file=str(file), expected=SAFE)
    return found
