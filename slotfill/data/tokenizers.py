"""Tokenizers: text to tokens with character offsets; the text itself is never changed.

Each character is mapped to a class, a single letter, so that a tokenizer is a regular expression
over a string of classes as long as the text. Python's `re` alone has no class for combining marks,
without which Hindi, Thai and Arabic words would fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from operator import index
from typing import Any, NoReturn

from slotfill.config.registry import user_part
from slotfill.data.normalization import normalize
from slotfill.data.sentence import Example, Sentence
from slotfill.errors import ConfigError, UsageError, did_you_mean, format_count, shorten_text
from slotfill.files import shorten_path

# Character classes: a letter, d digit, m combining mark, z zero-width joiner, i letter of a script
# without spaces between words (one character a token), f regional indicator (half a flag),
# _ white space, x any other character; ' . , : stand for themselves.
_CLUSTER = r"(?:ff|[^_])m*(?:z+[^_m]?m*)*"
_RUN = r"[adm][admz]*"
_WORD = rf"{_RUN}(?:(?:['.](?=[ad])|(?<=d)[,:](?=d)){_RUN})*"

_TOKENS = {
    "given": re.compile(r"[^_]+"),
    "whitespace": re.compile(r"[^_]+"),
    "words": re.compile(rf"{_WORD}|{_CLUSTER}"),
    "characters": re.compile(_CLUSTER),
}
TOKENIZERS = tuple(_TOKENS)

_WITHOUT_SPACES = re.compile(
    # Thai, Lao, Myanmar, Khmer, then ideographs and kana.
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff]"
)
_FIXED_CLASSES = {
    **{char: char for char in ".,:"},
    **dict.fromkeys("'\u2019", "'"),
    "_": "a",
    "\u200d": "z",
    # Zero width, yet they separate words (as in Thai) or are a byte-order mark.
    **dict.fromkeys("\u200b\ufeff", "_"),
    **dict.fromkeys(map(chr, range(0x1F1E6, 0x1F200)), "f"),
    # Vowels and final consonants of decomposed Hangul syllables.
    **dict.fromkeys(map(chr, range(0x1160, 0x1200)), "m"),
    # Skin tones.
    **dict.fromkeys(map(chr, range(0x1F3FB, 0x1F400)), "m"),
}

_CACHEABLE_LENGTH = 16
"""Pieces up to this length, in characters, are likely to recur."""
_MAX_SPLIT = 1000
"""Characters of the longest token that affixes are split off: each affix is tried on all of it."""
_MAX_AFFIX = 100
"""Characters of the longest affix that is learned: those of a word with many slots add up."""

Affix = tuple[str, str]
"""The context of an affix, and its normalized form.

The context is the class of the adjacent character (letter, digit or other), or `=` and the rest of
the only token that the affix is split from."""

_AffixForms = defaultdict[Affix, set[Affix]]
"""Affixes in general, and each as that of a single word."""


class Tokenizer:
    """Splits texts into tokens, by a base tokenizer and the affixes learned from training data.

    A learned suffix is split off a token that ends with it, if the character before it is of the
    class it was learned with; so is a prefix. `New York's` becomes `New York 's` if the
    training data has `[New York](city)'s`. An affix seen beside one word only, inside a run of
    letters that have case, is more likely a slip, as in `[Londo](city)n`: only this word is split.
    """

    def __init__(
        self,
        name: str = "words",
        normalization: str = "NFC",
        prefixes: Iterable[Affix] = (),
        suffixes: Iterable[Affix] = (),
    ) -> None:
        """Raises UsageError for an unknown tokenizer, or a file that is not trusted."""
        self._custom = _load_tokenizer(name) if name.endswith(".py") else None
        if self._custom is None and name not in _TOKENS:
            raise UsageError(f"unknown tokenizer '{name}'{did_you_mean(name, TOKENIZERS)}")
        self.name = name
        self.normalization = normalization
        self.prefixes, self.suffixes = frozenset(prefixes), frozenset(suffixes)
        self._prefix_forms = {form for _, form in self.prefixes}
        self._suffix_forms = {form for _, form in self.suffixes}
        self._affix_forms = self._prefix_forms | self._suffix_forms
        self._sizes = cache(self._list_sizes)
        self._decomposed_size = lru_cache(1 << 16)(self._count_decomposed)
        self._ascii_words = name != "characters" and not self._affix_forms
        self._cached_split = lru_cache(maxsize=8192)(self._split)

    @property
    def is_custom(self) -> bool:
        """Whether it is a file of the user."""
        return self._custom is not None

    def __reduce__(self) -> tuple[Any, ...]:
        # The cache cannot be pickled or copied.
        return Tokenizer, (self.name, self.normalization, self.prefixes, self.suffixes)

    @classmethod
    def fit(cls, name: str, normalization: str, examples: Iterable[Example]) -> Tokenizer:
        """Return a tokenizer whose affixes split every token inside which a span begins or ends.

        Only `words` and `whitespace` learn affixes.
        """
        tokenizer = cls(name, normalization)
        if name not in ("words", "whitespace"):
            return tokenizer
        labelled = [example for example in examples if not _has_spaces_around_spans(example)]
        while True:
            prefixes: _AffixForms = defaultdict(set)
            suffixes: _AffixForms = defaultdict(set)
            for example in labelled:
                tokenizer._collect_affixes(example, prefixes, suffixes)
            learned = cls(
                name,
                normalization,
                tokenizer.prefixes | _generalize(prefixes),
                tokenizer.suffixes | _generalize(suffixes),
            )
            if (learned.prefixes, learned.suffixes) == (tokenizer.prefixes, tokenizer.suffixes):
                return tokenizer
            tokenizer = learned

    def _collect_affixes(
        self, example: Example, prefixes: _AffixForms, suffixes: _AffixForms
    ) -> None:
        """Add the affix at each edge of a span inside a token of `example`."""
        text = example.text
        starts = {span.start for span in example.spans or ()}
        ends = {span.end for span in example.spans or ()}
        offsets = self.tokenize(text).offsets
        edges = (starts - {first for first, _ in offsets}) | (ends - {last for _, last in offsets})
        for edge in edges:
            first, last = offsets[bisect(offsets, (edge,)) - 1] if offsets else (edge, edge)
            is_suffix = edge in ends
            if (
                first < edge < last <= first + _MAX_SPLIT
                and (last - edge if is_suffix else edge - first) <= _MAX_AFFIX
                and not _is_in_character(text, first, edge)
            ):
                general, single = self._affix(text, first, edge, last, is_suffix)
                (suffixes if is_suffix else prefixes)[general].add(single)

    def _affix(
        self, text: str, start: int, cut: int, end: int, is_suffix: bool
    ) -> tuple[Affix, Affix]:
        """Return the affix of `text[start:end]` after or before `cut`: in general, of this word."""
        before, after = self._form(text[start:cut]), self._form(text[cut:end])
        if is_suffix:
            return (_affix_class(text[cut - 1]), after), (f"={before}", after)
        return (_affix_class(text[cut]), before), (f"={after}", before)

    def tokenize(self, text: str, location: str = "") -> Sentence:
        """Return `text` as an unlabelled sentence."""
        if self._custom is not None:
            spans = _split_by(self._custom, self.name, text)
            tokens = [self.normalize(text[first:last]) for first, last in spans]
            return Sentence(text, tokens, spans, location=location)
        tokens = []
        offsets: list[tuple[int, int]] = []
        start = 0
        is_plain = self._ascii_words and text.isascii()
        # No token holds a space or depends on what is beyond one, so words are split one by one.
        for word in text.split(" "):
            end = start + len(word)
            if is_plain and word.isalnum():
                tokens.append(word)
                offsets.append((start, end))
            elif word:
                short = len(word) <= _CACHEABLE_LENGTH
                forms, spans = (self._cached_split if short else self._split)(word)
                tokens += forms
                offsets += [(start + first, start + last) for first, last in spans]
            start = end + 1
        return Sentence(text, tokens, offsets, location=location)

    def normalize(self, token: str) -> str:
        """Return the Unicode-normalized form of `token`."""
        if self.normalization == "none":
            return token
        return normalize(self.normalization, token)  # type: ignore[arg-type]

    def _split(self, word: str) -> tuple[list[str], list[tuple[int, int]]]:
        """Return the tokens of `word`, normalized, and their offsets."""
        matches = _TOKENS[self.name].finditer(word.translate(_CHARACTER_CLASSES))
        spans = [match.span() for match in matches]
        if self._affix_forms:
            if self._form(word) in self._affix_forms:
                spans = [(0, len(word))]
            spans = [part for span in spans for part in self._split_affixes(word, *span)]
        tokens = [word[start:end] for start, end in spans]
        return (tokens if word.isascii() else [self.normalize(token) for token in tokens]), spans

    def _split_affixes(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """Return `text[start:end]` split at its affixes, the longest suffix first."""
        parts, rest = [], [(start, end)]
        while rest:
            start, end = rest.pop()
            cut = self._find_affix(text, start, end)
            if cut is None:
                parts.append((start, end))
            else:
                rest += [(cut, end), (start, cut)]
        return parts

    def _find_affix(self, text: str, start: int, end: int) -> int | None:
        """Return where the first affix of `text[start:end]` is split off; None without any."""
        if end - start > _MAX_SPLIT:
            return None
        token = text[start:end]
        # In ASCII, the form of a part is that part of the form, which is computed once.
        ascii_form = self._form(token) if token.isascii() else ""
        for is_suffix, known, forms in (
            (True, self.suffixes, self._suffix_forms),
            (False, self.prefixes, self._prefix_forms),
        ):
            sizes = self._sizes(is_suffix) if ascii_form else self._fit_sizes(token, is_suffix)
            for size in sizes:
                if not 0 < size < len(token):
                    continue
                part = slice(-size, None) if is_suffix else slice(size)
                if (ascii_form[part] if ascii_form else self._form(token[part])) in forms:
                    cut = end - size if is_suffix else start + size
                    is_divided = not ascii_form and _is_in_character(text, start, cut)
                    affixes = self._affix(text, start, cut, end, is_suffix)
                    if not is_divided and not known.isdisjoint(affixes):
                        return cut
        return None

    def _list_sizes(self, is_suffix: bool) -> list[int]:
        """Return how many characters the suffixes or prefixes have, decomposed, the most first."""
        forms = self._suffix_forms if is_suffix else self._prefix_forms
        return sorted({sum(map(self._decomposed_size, form)) for form in forms}, reverse=True)

    def _fit_sizes(self, token: str, is_suffix: bool) -> list[int]:
        """Return how many characters of `token` a suffix or prefix may have, the most first.

        Texts of one form have as many characters when they are decomposed.
        """
        known = self._sizes(is_suffix)
        longest = max(known, default=0)
        sizes, decomposed = [], 0
        for size, character in enumerate(reversed(token) if is_suffix else token, 1):
            decomposed += self._decomposed_size(character)
            if decomposed > longest:
                break
            if decomposed in known:
                sizes.append(size)
        return sizes[::-1]

    def _count_decomposed(self, character: str) -> int:
        form = "NFKD" if "K" in self.normalization else "NFD"
        return len(unicodedata.normalize(form, self._form(character)))  # type: ignore[arg-type]

    def _form(self, affix: str) -> str:
        """Return `affix` as it is compared: in lower case, with straight apostrophes."""
        return self.normalize(affix.lower().replace("\u2019", "'"))

    def to_json(self) -> dict[str, Any]:
        """Return the settings and affixes as JSON data."""
        return {
            "name": self.name,
            "normalization": self.normalization,
            "prefixes": sorted(map(list, self.prefixes)),
            "suffixes": sorted(map(list, self.suffixes)),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tokenizer:
        """Return the tokenizer of `to_json`; raises ValueError if `data` is not its output."""
        name, normalization = data["name"], data["normalization"]
        if name not in TOKENIZERS and not name.endswith(".py"):
            raise ValueError(f"unknown tokenizer {name!r}{did_you_mean(name, TOKENIZERS)}")
        if normalization not in NORMALIZATIONS:
            hint = did_you_mean(normalization, NORMALIZATIONS)
            raise ValueError(f"unknown tokenizer.normalization {normalization!r}{hint}")
        prefixes = [(side, form) for side, form in data["prefixes"]]
        suffixes = [(side, form) for side, form in data["suffixes"]]
        return cls(name, normalization, prefixes, suffixes)


def _load_tokenizer(file: str) -> Any:
    """Return the tokenizer of a user: an object with the method `split`."""
    part = user_part(file).load()
    if not callable(getattr(part, "split", None)):
        raise ConfigError(f"{file}: its class has no method split(text), which returns offsets")
    try:
        return part()
    except (Exception, SystemExit) as error:
        problem = f"failed with {type(error).__name__}: {error}"
        raise ConfigError(
            f"{shorten_path(file)}: {part.__name__}() {problem}", "data.tokenizer"
        ) from error


def _split_by(tokenizer: Any, file: str, text: str) -> list[tuple[int, int]]:
    """Return the offsets of a user's tokenizer; what is between its tokens are tokens, too.

    Raises ConfigError, which names its file, if it fails or returns no offsets of tokens.
    """

    def fail(problem: str) -> NoReturn:
        call = f"{shorten_path(file)}: {type(tokenizer).__name__}.split({shorten_text(text)!r})"
        raise ConfigError(f"{call} {problem}", "data.tokenizer")

    try:
        returned = tokenizer.split(text)
        returned = list(returned) if isinstance(returned, Iterator) else returned
    except (Exception, SystemExit) as error:
        fail(f"failed with {type(error).__name__}: {error}")
    try:
        spans = [(_to_offset(first), _to_offset(last)) for first, last in returned]
    except (TypeError, ValueError):
        found = shorten_text(repr(returned), 60)
        fail(f"returned {found}; tokens are pairs of integers, as [(0, 3), (4, 7)]")
    if empty := [span for span in spans if span[0] == span[1]]:
        fail(f"returned {empty[0]}; a token has at least one character")
    if not spans and any(map(str.isalpha, text)):
        fail("returned no token, though the text has letters")
    filled: list[tuple[int, int]] = []
    end = 0
    for first, last in [*spans, (len(text), len(text))]:
        if not end <= first <= last <= len(text):
            size = format_count(len(text), "character")
            fail(
                f"returned ({first}, {last}) after {end}, in a text of {size}; tokens are in order,"
                " do not overlap and end in the text"
            )
        for match in _TOKENS["whitespace"].finditer(text[end:first].translate(_CHARACTER_CLASSES)):
            filled.append((end + match.start(), end + match.end()))
        if not is_empty(text[first:last]):
            filled.append((first, last))
        end = last
    return filled


def _to_offset(value: Any) -> int:
    """Return an integer of Python or NumPy; raises TypeError for another value, as True."""
    if isinstance(value, bool):
        raise TypeError
    return index(value)


NORMALIZATIONS = ("NFC", "NFKC", "none")


def join_tokens(tokens: Iterable[str], name: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a text of `tokens`, which the tokenizer `name` may have split, and their offsets.

    There is a space between two tokens unless both are of a script without spaces between words, or
    are characters.
    """
    text, offsets = "", []
    for token in tokens:
        without = name == "characters" or (
            _WITHOUT_SPACES.match(token) and _WITHOUT_SPACES.match(text[-1:])
        )
        text += token if without or not text else f" {token}"
        offsets.append((len(text) - len(token), len(text)))
    return text, offsets


def is_empty(text: str) -> bool:
    """Return whether every tokenizer finds no token in `text`."""
    return not text.translate(_CHARACTER_CLASSES).strip("_")


class _CharacterClasses(dict[int, str]):
    """The class of each character by its code point, computed on first use; at most 65,536."""

    def __missing__(self, code_point: int) -> str:
        char = chr(code_point)
        category = unicodedata.category(char)
        if char in _FIXED_CLASSES:
            character_class = _FIXED_CLASSES[char]
        elif char.isspace():
            character_class = "_"
        elif category[0] == "M" or category == "Cf":
            character_class = "m"
        elif _WITHOUT_SPACES.match(char) and category[0] in "LN" and category != "Nd":
            character_class = "i"
        else:
            character_class = {"L": "a", "N": "d"}.get(category[0], "x")
        if len(self) < 65536:
            self[code_point] = character_class
        return character_class


_CHARACTER_CLASSES = _CharacterClasses()


def _has_spaces_around_spans(example: Example) -> bool:
    """Return whether a space or the end of the text is on both sides of every span."""
    text, size = example.text, len(example.text)
    return all(
        (not span.start or text[span.start - 1 : span.start] == " ")
        and (span.end == size or text[span.end : span.end + 1] == " ")
        for span in example.spans or ()
    )


def _generalize(affixes: _AffixForms) -> set[Affix]:
    """Return the affixes to learn from those seen, each with those of single words."""
    learned: set[Affix] = set()
    for (side, form), single in affixes.items():
        is_cased = side == "letter" and form.isalpha() and form.upper() != form
        learned |= single if is_cased and len(single) == 1 else {(side, form)}
    return learned


def _is_in_character(text: str, start: int, cut: int) -> bool:
    """Return whether `cut` divides what a reader sees as one character of a token at `start`.

    As a letter and its marks, the halves of a flag, or emoji that are joined.
    """
    classes = text[start : cut + 1].translate(_CHARACTER_CLASSES)
    before, after = classes[:-1], classes[-1]
    halves = len(before) - len(before.rstrip("f"))
    return after in "mz" or before.endswith("z") or (after == "f" and halves % 2 == 1)


def _affix_class(char: str) -> str:
    character_class = _CHARACTER_CLASSES[ord(char)]
    return "digit" if character_class == "d" else "letter" if character_class in "amzi" else "other"
