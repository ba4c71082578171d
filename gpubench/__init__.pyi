from gpubench.api.measuring import measure as measure
from gpubench.api.measuring import summarize as summarize
from gpubench.record import Measurement as Measurement
from gpubench.record import Summary as Summary

__version__: str
__all__ = ["Measurement", "Summary", "__version__", "measure", "summarize"]
