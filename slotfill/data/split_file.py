"""Divide a file of sentences into splits, each a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slotfill.data.convert import write_checked
from slotfill.data.corpus import ReadResult, draft_file, read_sentences
from slotfill.data.detection import guess_format
from slotfill.data.folders import find_split, is_corpus, list_splits
from slotfill.data.sentence import Issue
from slotfill.data.stratification import draw_splits
from slotfill.errors import UsageError, format_count


def split_file(
    source: Path,
    out: Path,
    shares: Mapping[str, float],
    *,
    seed: int = 1,
    from_format: str | None = None,
    to_format: str | None = None,
    scheme: str = "iob2",
    lossy: bool = False,
) -> tuple[dict[str, int], list[Issue]]:
    """Write the splits of the file `source` to the new folder `out`; return their sizes.

    They are drawn by `draw_splits` and written in the format `to_format`, by default that of
    `source`. What is lost is returned, too. Raises UsageError where a split would be empty, and
    what `convert_file` raises.
    """
    if not 0 < sum(shares.values()) < 1:
        raise UsageError(
            "--valid and --test: together more than 0 and less than 1, as 0.1 and 0.1, found"
            f" {' and '.join(f'{share:g}' for share in shares.values())}"
        )
    if is_corpus(source) and (names := list_splits(source, from_format)):
        train = find_split(source, "train" if "train" in names else names[0], from_format)
        raise UsageError(
            f"{source}: has the splits {', '.join(names)}, which data.path={source} uses; divide"
            f" one of them: slotfill split {train} --out {out}"
        )
    result = read_sentences(
        source, format=from_format, scheme=scheme, keep_tokens=True, extra=True, labelled=False
    )
    splits = draw_splits(result.sentences, shares, seed)
    for split, indices in splits.items():
        if not indices:
            count = len({sentence.text.casefold() for sentence in result.sentences})
            different = f"of {format_count(count, 'different sentence')}, {split} would get none"
            hint = f"; raise --{split}, or leave it out with --{split} 0"
            raise UsageError(f"{source}: {different}{hint if split in shares else ''}")
    own_format = from_format or guess_format(source)
    with draft_file(out, to_format or own_format) as (draft, part):
        keeps_format = to_format in (None, own_format)
        suffix = (source.suffix if keeps_format else "") or next(iter(part.suffixes), "")
        draft.mkdir()
        losses = result.issues("no words")
        for split, indices in splits.items():
            own = ReadResult([result.sentences[index] for index in indices], result.tokenizer)
            path = (draft / split).with_suffix(suffix)
            target = out / path.name
            losses += write_checked(path, part, own, scheme, lossy=lossy, target=target)[1]
    return {split: len(indices) for split, indices in splits.items()}, losses
