"""The public API for user-defined parts: base classes, option types and what parts build on.

A part is one file with one class; `encoder.cell=./mgu.py` in a config uses it.
"""

from slotfill.config.option_types import (
    CellPart,
    Count,
    Depth,
    DepthOrZero,
    FilePath,
    FolderOrName,
    Fraction,
    NonNegative,
    Positive,
    Size,
)
from slotfill.data.formats.base import Format
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, DataError
from slotfill.model.cells.base import (
    Cell,
    OnnxRecurrentOp,
    State,
    apply_activation,
    xavier_parameter,
)
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.generators.base import Gaussian, GaussianLayer, Generator, Recurrence, Terms
from slotfill.model.intents.base import IntentHead
from slotfill.model.layers import LockedDropout, padding_mask
from slotfill.model.linear_recurrence import LinearCell, linear_scan
from slotfill.model.recurrence import scan
from slotfill.model.taggers.base import Tagger
from slotfill.training.loggers.base import Logger

# The base classes, the option types, and what parts build on.
__all__ = ["Cell", "Embedding", "Encoder", "Format", "Generator", "IntentHead", "LinearCell"]
__all__ += ["Logger", "Tagger"]
__all__ += ["CellPart", "Count", "Depth", "DepthOrZero", "FilePath", "FolderOrName"]
__all__ += ["Fraction", "NonNegative", "Positive", "Size"]
__all__ += ["ConfigError", "DataError", "Sentence", "Slot", "Vocab"]
__all__ += ["Gaussian", "GaussianLayer", "LockedDropout", "OnnxRecurrentOp", "Recurrence"]
__all__ += ["State", "Terms"]
__all__ += ["apply_activation", "linear_scan", "padding_mask", "scan", "xavier_parameter"]
