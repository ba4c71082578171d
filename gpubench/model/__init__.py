"""C_GPU: what an operation should cost on a GPU, from datasheet facts and fitted constants.

Reads top down like the formula ``time = launch + combine(compute, memory)``:

``prediction``  one case or many rows -> predicted time, band, bound, energy
``operators``   workload names and parameters -> the modules below
``gemm`` ``tensorcore`` ``conv`` ``memory`` ``attention`` ``rnn`` ``collective``
                the operators, each by its physics
``power``       the clock that a power limit allows; energy
``hardware``    catalogue rows -> rates; ``constants`` fitted values with bounds and meaning
``bands``       spread of leave-one-GPU-out residuals; ``roofline`` the reference to beat
``bulk``        CSV in, CSV out; ``explain`` a derivation to redo by hand; ``cost`` prices
``article``     the source article's C_GPU, with its worked example corrected

No module here imports torch.
"""

from gpubench.model.prediction import Predicted, Prediction, predict, predict_columns

__all__ = ["Predicted", "Prediction", "predict", "predict_columns"]
