"""The claims that docs/systems.md examines, each between two systems that differ in one thing.

`scripts/train_systems.py` tests them, with Holm's correction for their number on each corpus, and
the pages have their verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GREFF = {
    "greff-cifg": "Input and forget gates that are not coupled help",
    "greff-fgr": "Gates that do not see the gates of the step before help",
    "greff-nfg": "The forget gate helps",
    "greff-niaf": "The input activation helps",
    "greff-nig": "The input gate helps",
    "greff-noaf": "The output activation helps",
    "greff-nog": "The output gate helps",
    "greff-np": "Peepholes help",
}
"""What each variant of Greff et al. 2015 is without."""


@dataclass(frozen=True)
class Claim:
    """`system` is better than `other`; with a margin, not worse than it by so many points of F1."""

    text: str
    system: str
    other: str
    margin: float = 0.0


CLAIMS = [
    Claim("A window helps a feedforward network", "feedforward-window", "feedforward"),
    Claim("A window is not a memory: the LSTM is better", "lstm", "feedforward-window"),
    Claim("Reading both ways is better than reading forwards (LSTM)", "lstm", "lstm-forward"),
    Claim("Reading both ways is better than reading forwards (Elman)", "elman", "elman-forward"),
    Claim("A gated memory is better than a plain one", "lstm", "elman"),
    Claim(
        "Feeding back the hidden layer (Elman) is better than feeding back the tags (Jordan)",
        *("elman-window", "jordan"),
    ),
    Claim(
        "With tanh, too, feeding back the hidden layer is better than feeding back the tags",
        *("elman-window-tanh", "jordan-tanh"),
    ),
    Claim(
        "Feeding back both is better than the hidden layer alone", "elman-jordan", "elman-window"
    ),
    Claim(
        "With tanh, too, feeding back both is better than the hidden layer alone",
        *("elman-jordan-tanh", "elman-window-tanh"),
    ),
    Claim("In a Jordan network tanh is better than the sigmoid", "jordan-tanh", "jordan"),
    Claim(
        "Gates that see h are better than gates that see only the word (g and h: tanh)",
        *("lstm-bias-0", "lstm-lecture-tanh"),
    ),
    Claim(
        "Gates that see h are better than gates that see only the word (g and h: sigmoid)",
        *("lstm-sigmoid", "lstm-lecture"),
    ),
    Claim(
        "For g and h, tanh is better than the sigmoid (gates that see only the word)",
        *("lstm-lecture-tanh", "lstm-lecture"),
    ),
    Claim(
        "For g and h, tanh is better than the sigmoid (gates that see h)",
        *("lstm-bias-0", "lstm-sigmoid"),
    ),
    Claim("A forget gate that starts open helps", "lstm", "lstm-bias-0"),
    Claim("A relevance gate helps", "lstm-relevance", "lstm"),
    Claim("A GRU is as good as an LSTM", "gru", "lstm", margin=1.0),
    Claim("A GRU without a reset gate is as good as an LSTM", "gru-simplified", "lstm", margin=1.0),
    Claim("A reset gate is as good before the product as after", "gru-before", "gru", margin=1.0),
    Claim("MUT1 is as good as an LSTM", "mut1", "lstm", margin=1.0),
    Claim("MUT2 is as good as an LSTM", "mut2", "lstm", margin=1.0),
    Claim("MUT3 is as good as an LSTM", "mut3", "lstm", margin=1.0),
    *(Claim(text, "greff-vanilla", variant) for variant, text in GREFF.items()),
    Claim("Two layers are better than one", "lstm-deep", "lstm"),
    Claim("A gate from the memory below helps two layers", "depth-gated", "lstm-deep"),
    Claim("A memory along depth helps two layers", "grid-lstm", "lstm-deep"),
    Claim("The layers of a grid LSTM need weights of their own", "grid-lstm", "grid-lstm-tied"),
    Claim("Attention over the outputs of the LSTM helps", "attention", "lstm"),
    Claim("Self-attention over the outputs of the LSTM helps", "self-attention", "lstm"),
    Claim("Knowing the tag before helps (focus)", "focus", "lstm"),
    Claim("Knowing the tag before, and attention, help (aligned)", "aligned", "lstm"),
    Claim("Gated attention with aligned inputs helps (Xu et al.)", "show-attend-tell", "lstm"),
    Claim(
        "Hard attention is as good as soft attention",
        *("show-attend-tell-hard", "show-attend-tell"),
        margin=1.0,
    ),
    Claim("Modules with periods of their own help a plain network", "clockwork", "elman"),
    Claim("A KL bottleneck with a learned prior helps", "kl_bottleneck", "lstm"),
    Claim("A KL bottleneck with a fixed prior helps", "kl_bottleneck-fixed", "lstm"),
]


def list_claims(systems: Iterable[str]) -> list[Claim]:
    """Return the claims about these systems; those without one should be as good as an LSTM."""
    systems = list(systems)
    named = {name for claim in CLAIMS for name in (claim.system, claim.other)} | {"lstm"}
    claims = [claim for claim in CLAIMS if {claim.system, claim.other} <= set(systems)]
    return claims + [
        Claim(f"`{name}` is as good as an LSTM", name, "lstm", margin=1.0)
        for name in systems
        if name not in named
    ]
