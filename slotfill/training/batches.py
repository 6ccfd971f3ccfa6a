"""TrainingBatches: the batches of each epoch, sharded over the workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from slotfill.config.models import TrainConfig
from slotfill.data.batching import UNKNOWN, Batch, bucket_batches, make_batch
from slotfill.data.indexers import Indexer
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
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


class TrainingBatches:
    """The training sentences as ids, in batches whose order the seed and the epoch determine.

    After each batch of labelled sentences, there is one of `unlabelled` ones, for the language
    model, drawn again in each epoch.
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
        self.seed = config.seed
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.indexers = indexers
        by_sentence = dict(zip(map(id, sentences), targets, strict=False))
        sentences = repeat_rare(sentences, config)
        self.targets = [by_sentence[id(sentence)] for sentence in sentences if targets]
        self.weights = sentence_weights(sentences, config)
        self.tokens = [sentence.tokens for sentence in (*sentences, *unlabelled)]
        self.lengths = [len(tokens) for tokens in self.tokens]
        self.tags = []
        """The tag ids of the labelled sentences, which are the first."""
        for sentence in sentences:
            ids = [vocab.tag_ids[tag] for tag in _tags(sentence, vocab)]
            for start, end in sentence.unknown:
                ids[start:end] = [UNKNOWN] * (end - start)
            self.tags.append(ids)
        soft = [target.intents for target in self.targets if target.intents is not None]
        self.intents = soft if targets else vocab.intent_targets(sentences)
        self.words: list[list[int]] = []
        """Target ids of the auxiliary language model, if it is trained."""
        if config.language_model_weight:
            words = target_vocabulary(vocab)
            self.words = [to_target_ids(tokens, words) for tokens in self.tokens]

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._make_batches())

    def shards(self, epoch: int, rank: int = 0, first: int = 0) -> Iterator[Shard]:
        """Yield the shard of worker `rank` of each batch of `epoch`, from the batch `first` on."""
        for indices in self._make_batches((self.seed, epoch))[first:]:
            yield self.make_shard(indices, rank)

    def _make_batches(self, seed: tuple[int, ...] | None = None) -> list[list[int]]:
        """Return the indices of the sentences of each batch."""
        count = len(self.tags)
        labelled = bucket_batches(self.lengths[:count], self.batch_size, seed)
        text = bucket_batches(self.lengths[count:], self.batch_size, seed)[: len(labelled)]
        text = [[count + index for index in batch] for batch in text]
        pairs = zip_longest(labelled, text)
        return [batch for pair in pairs for batch in pair if batch is not None]

    def make_shard(self, indices: Sequence[int], rank: int) -> Shard:
        """Return every `num_workers`-th sentence of a batch, padded."""
        shard = Shard(None, len(indices), sum(self.lengths[i] for i in indices))
        if own := indices[rank :: self.num_workers]:
            tokens = [self.tokens[i] for i in own]
            words = self.words and [self.words[i] for i in own]
            if own[0] >= len(self.tags):
                shard.batch = make_batch(tokens, self.indexers, words=words)
            else:
                tags, intents = [self.tags[i] for i in own], self.intents
                weights = None if self.weights is None else self.weights[own]
                intents = intents and [intents[i] for i in own]
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
