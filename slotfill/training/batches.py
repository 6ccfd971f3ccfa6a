"""TrainingBatches: the batches of each epoch, sharded over the workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from slotfill.config.sections import TrainConfig
from slotfill.data.batching import UNKNOWN, Batch, bucket_batches, make_batch
from slotfill.data.indexers import Indexer
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.data.stored import StoredSentences
from slotfill.data.vocab import Vocab
from slotfill.inference.tagging import BATCH_SIZE, BATCH_TOKENS
from slotfill.model.language_model import target_vocabulary, to_target_ids
from slotfill.training.distillation import SoftTarget, stack_targets
from slotfill.training.imbalance import repeat_rare, sentence_weights


@dataclass(slots=True)
class Shard:
    """One worker's part of a batch."""

    batch: Batch | None
    """The worker's sentences; None if the batch has fewer sentences than there are workers."""
    sentences: int
    """Number of sentences in the full batch."""
    tokens: int
    """Number of tokens in the full batch."""


@dataclass(slots=True)
class _Encoded:
    """What batches have of sentences, a list each."""

    tokens: list[list[str]]
    tags: list[list[int]]
    """The tag ids of the labelled sentences, which are the first."""
    intents: list[np.ndarray]
    """Empty if intents are not learned."""
    words: list[list[int]]
    """Target ids of the auxiliary language model, if it is trained."""


class TrainingBatches:
    """The training sentences as ids, in batches whose order the seed and the epoch determine.

    Stored sentences are read from disk and encoded batch by batch. After each batch of labelled
    sentences, there is one of `unlabelled` ones, for the language model, drawn again in each epoch.
    """

    def __init__(
        self,
        sentences: Sequence[Sentence],
        vocab: Vocab,
        indexers: Sequence[Indexer],
        config: TrainConfig,
        batch_size: int,
        num_workers: int,
        targets: Sequence[SoftTarget] = (),
        unlabelled: Sequence[Sentence] = (),
    ) -> None:
        """`targets` are what distillation has for each sentence."""
        self.vocab = vocab
        self.seed = config.seed
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.indexers = indexers
        by_sentence = dict(zip(map(id, sentences), targets, strict=False))
        sentences = repeat_rare(sentences, config)
        self.targets = [by_sentence[id(sentence)] for sentence in sentences] if targets else []
        self.weights = sentence_weights(sentences, config)
        self.sentences = sentences
        self.count = len(sentences)
        """The number of labelled sentences, which are the first."""
        self.lengths = [len(each.tokens) for part in (sentences, unlabelled) for each in part]
        self.soft_intents = [each.intents for each in self.targets if each.intents is not None]
        self.words = target_vocabulary(vocab) if config.language_model_weight else None
        """The words of the auxiliary language model; None without one."""
        self.encoded: _Encoded | None = None
        """All sentences; None if they are stored."""
        if not isinstance(sentences, StoredSentences):
            self.encoded = self._encode(sentences, unlabelled)

    def _encode(
        self, sentences: Sequence[Sentence], unlabelled: Sequence[Sentence] = ()
    ) -> _Encoded:
        tags = []
        for sentence in sentences:
            ids = [self.vocab.tag_ids[tag] for tag in _tags(sentence, self.vocab)]
            for start, end in sentence.unknown:
                ids[start:end] = [UNKNOWN] * (end - start)
            tags.append(ids)
        tokens = [sentence.tokens for sentence in (*sentences, *unlabelled)]
        words = [] if self.words is None else [to_target_ids(each, self.words) for each in tokens]
        intents = self.soft_intents if self.targets else self.vocab.intent_targets(sentences)
        return _Encoded(tokens, tags, intents, words)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._make_batches())

    def shards(self, epoch: int, rank: int = 0, first: int = 0) -> Iterator[Shard]:
        """Yield the shard of worker `rank` of each batch of `epoch`, from the batch `first` on."""
        for indices in self._make_batches((self.seed, epoch))[first:]:
            yield self.make_shard(indices, rank)

    def _make_batches(self, seed: tuple[int, ...] | None = None) -> list[list[int]]:
        """Return the indices of the sentences of each batch."""
        count = self.count
        labelled = bucket_batches(self.lengths[:count], self.batch_size, seed)
        text = bucket_batches(self.lengths[count:], self.batch_size, seed)[: len(labelled)]
        text = [[count + index for index in batch] for batch in text]
        pairs = zip_longest(labelled, text)
        return [batch for pair in pairs for batch in pair if batch is not None]

    def make_shard(self, indices: Sequence[int], rank: int) -> Shard:
        """Return every `num_workers`-th sentence of a batch, padded."""
        shard = Shard(None, len(indices), sum(self.lengths[i] for i in indices))
        if own := indices[rank :: self.num_workers]:
            encoded, places = self.encoded, own
            if encoded is None:
                encoded = self._encode([self.sentences[i] for i in own])
                places = range(len(own))
            tokens = [encoded.tokens[i] for i in places]
            words = encoded.words and [encoded.words[i] for i in places]
            if own[0] >= self.count:
                shard.batch = make_batch(tokens, self.indexers, words=words)
            else:
                tags = [encoded.tags[i] for i in places]
                weights = None if self.weights is None else self.weights[own]
                intents = encoded.intents and [encoded.intents[i] for i in places]
                shard.batch = make_batch(tokens, self.indexers, tags, intents, words, weights)
                if self.targets:
                    shard.batch.soft_targets = stack_targets([self.targets[i] for i in own])
        return shard


def labelled_batches(
    sentences: Sequence[Sentence], vocab: Vocab, indexers: Sequence[Indexer]
) -> Iterator[Batch]:
    """Yield batches of those sentences whose every label is known, and is one of `vocab`."""
    known = []
    for sentence in sentences:
        tags = [vocab.tag_ids.get(tag, UNKNOWN) for tag in _tags(sentence, vocab)]
        has_intent = not vocab.intents or sentence.intent in vocab.intents
        if has_intent and UNKNOWN not in tags and not sentence.unknown:
            known.append((sentence, tags))
    lengths = [len(tags) for _, tags in known]
    for indices in bucket_batches(lengths, BATCH_SIZE, max_tokens=BATCH_TOKENS) if known else ():
        own = [known[index][0] for index in indices]
        tokens, tag_ids = [each.tokens for each in own], [known[index][1] for index in indices]
        yield make_batch(tokens, indexers, tag_ids, vocab.intent_targets(own))


def _tags(sentence: Sentence, vocab: Vocab) -> list[str]:
    return slots_to_tags(sentence.slots or [], len(sentence.tokens), vocab.scheme)
