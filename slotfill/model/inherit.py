"""Start a network from the weights of another one, whose vocabulary is a part of its own."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import cast

import torch
from torch import Tensor

from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.model.embeddings.base import Embedding
from slotfill.model.ensemble import Model
from slotfill.model.network import Network
from slotfill.model.taggers.base import Tagger

Labels = list[Hashable]
"""What the positions along an axis of a tensor stand for, such as the tags."""


@torch.no_grad()
def inherit_weights(model: Model, base: Model, vocab: Vocab, base_vocab: Vocab) -> None:
    """Copy the weights of `base` to `model`, a network of the same config.

    `vocab` is that of `model` and contains `base_vocab`. What stands for a word, a tag or an intent
    that is new keeps its initial value. Raises RunError if the size of a tensor, of a user-defined
    part, depends on the vocabulary in another way.
    """
    for member, base_member in zip(model.members, base.members, strict=True):
        weights = base_member.state_dict()
        for name, target in member.state_dict().items():
            if name.startswith(("language_model.", "tagger.names.")):  # Only training has them.
                continue
            source = weights[name]
            places = []
            for axis, (old, new) in enumerate(zip(source.shape, target.shape, strict=True)):
                pairs = zip(
                    _list_labels(name, axis, old, base_member, base_vocab),
                    _list_labels(name, axis, new, member, vocab),
                    strict=True,
                )
                pair = _find_pair(list(pairs), old, new)
                if pair is None:
                    raise RunError(
                        f"training cannot continue: {name} was {tuple(source.shape)} and is now"
                        f" {tuple(target.shape)}, and where its old numbers belong is not known"
                    )
                places.append(_match(*pair))
                source = source.index_select(axis, places[-1][0])
            if not places:
                target.copy_(source)
                continue
            target[torch.meshgrid(*(new for _, new in places), indexing="ij")] = source
        tags = [vocab.tag_ids[tag] for tag in base_vocab.tags if tag in vocab.tag_ids]
        cast(Tagger, member.tagger).restart_training(tags)


def _list_labels(
    name: str, axis: int, size: int, network: Network, vocab: Vocab
) -> Iterator[Labels]:
    """Yield what the positions along an axis of `size` of the tensor `name` may stand for."""
    kind, _, rest = name.partition(".")
    intents: Labels = [*vocab.intent_names]
    if kind == "embeddings" and axis == 0:
        rows = _label_rows(cast(Embedding, network.embeddings[int(rest.partition(".")[0])]))
        yield rows
        yield rows[:size]  # The trainable vectors are the first ones of all.
    elif kind == "intent":
        yield intents
    elif kind == "tagger":
        tags: Labels = [*vocab.tags]
        yield tags
        yield [*tags, None]  # Decoders have a tag before the first.
        if network.intent is not None and network.intent.feed:
            yield [*range(size - len(intents)), *intents]


def _label_rows(embedding: Embedding) -> Labels:
    """Return what each row of the table of `embedding` stands for; special ones are their ids."""
    ids: dict[str, int] = getattr(embedding.indexer, "ids", {})
    labels: Labels = [*range(max(ids.values(), default=-1) + 1)]
    for key, row in ids.items():
        labels[row] = key
    return labels


def _find_pair(
    pairs: list[tuple[Labels, Labels]], old: int, new: int
) -> tuple[Labels, Labels] | None:
    """Return the labels of an axis, before and now; None if none have these sizes."""
    same: Labels = [*range(old)]
    if old == new:  # Of a table its rows may have changed places.
        pairs = [*pairs[:1], (same, same)]
    fitting = (pair for pair in pairs if (len(pair[0]), len(pair[1])) == (old, new))
    return next(fitting, None)


def _match(old: Labels, new: Labels) -> tuple[Tensor, Tensor]:
    """Return the positions of what is in both lists: in `old`, and in `new`."""
    positions = {label: index for index, label in enumerate(new)}
    common = [(index, positions[each]) for index, each in enumerate(old) if each in positions]
    return cast(tuple[Tensor, Tensor], torch.tensor(common).reshape(-1, 2).unbind(1))
