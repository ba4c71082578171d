"""Recurrent layers, forward: a chain of small products, one a time step.

    time = launch + input product over all steps + T * (recurrent product + pointwise + sync)

gates = 1 (vanilla), 3 (GRU), 4 (LSTM); input size = hidden size. The chain cannot overlap, so
a step costs at least the synchronisation of the whole GPU. ``skip_input`` leaves the input
product out, as cuDNN's mode of that name does and as DeepBench measured.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpubench.model.gemm import Shape, gemm
from gpubench.model.hardware import Hardware
from gpubench.model.tensorcore import tensor_gemm
from gpubench.model.terms import Array, Constants, Detail, Terms

GATES: Final = {"vanilla": 1, "rnn": 1, "gru": 3, "lstm": 4}


def rnn(
    hw: Hardware, on_tensor: bool, gates: Array, batch: Array, steps: Array, hidden: Array,
    skip_input: Array, c: Constants,
) -> Terms:  # fmt: skip
    """Forward pass of one layer over ``steps`` time steps."""
    k = c["rnn_tensor" if on_tensor else "rnn"]
    product = tensor_gemm if on_tensor else gemm
    one, zero = np.ones_like(batch), np.zeros_like(batch)
    wide = gates * hidden
    inputs = product(hw, Shape(one, steps * batch, wide, hidden, one, one, zero), c)
    step = product(hw, Shape(one, batch, wide, hidden, one, one, zero), c)
    step_s = k["step_product"] * (step.time_s - step.launch_s) + k["step_sync_s"]
    inputs_s = (1 - skip_input) * (inputs.time_s - inputs.launch_s)
    launch = k["launch_s"] + steps * k["step_sync_s"]
    time_s = k["launch_s"] + inputs_s + steps * step_s
    return Terms(
        time_s,
        steps * step.compute_s + (1 - skip_input) * inputs.compute_s,
        steps * step.memory_s + (1 - skip_input) * inputs.memory_s,
        launch,
        steps * step.core_j + (1 - skip_input) * inputs.core_j,
        steps * step.dram_bytes + (1 - skip_input) * inputs.dram_bytes,
        inputs.clock_share,
        {
            "input_s": Detail(inputs_s, "s", "product of all inputs with their weights"),
            "step_s": Detail(step_s, "s", "recurrent product of one step, and synchronisation"),
            "launch_s": Detail(launch, "s", "launch + seq_len * synchronisation"),
            "time_s": Detail(time_s, "s", "launch + input_s + seq_len * step_s"),
        },
    )  # fmt: skip
