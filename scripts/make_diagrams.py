"""Draw the diagrams of cells and networks as SVG from scripts/diagrams.txt.

    python scripts/make_diagrams.py            write the pictures
    python scripts/make_diagrams.py --check    write nothing; exit 1 if a picture would change

The text is the drawing: each character is a place of a grid. `[tanh ]` is a learned layer, `(×)` an
operation on each unit, characters such as `─`, `┐` and `┬` are lines, of which heavy ones carry the
memory, and `▶` and `▲` arrowheads. Lines that meet are concatenated, lines that part are copied;
`┼` and `┿` cross without touching. All else is a label; subscripts are characters of Unicode.

The diagrams that docs/lecture.zh-TW.md has in its own folder are drawn again with Chinese labels,
and with the title that they have there.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "scripts" / "diagrams.txt"
CHINESE_PAGE = ROOT / "docs" / "lecture.zh-TW.md"
WIDTH, HEIGHT, MARGIN = 10, 22, 16
"""Of a place of the grid, and around the drawing, in pixels."""

SIDES = {"LEFT": (0, -1), "RIGHT": (0, 1), "UP": (-1, 0), "DOWN": (1, 0)}
"""Row and column to the neighbour on each side."""
OPPOSITE = {"LEFT": "RIGHT", "RIGHT": "LEFT", "UP": "DOWN", "DOWN": "UP"}
ALIASES = {"HORIZONTAL": ("LEFT", "RIGHT"), "VERTICAL": ("UP", "DOWN")}
ARROWS = {
    "▶": (("LEFT",), "M-4,-5 L5,0 L-4,5 Z"),
    "◀": (("RIGHT",), "M4,-5 L-5,0 L4,5 Z"),
    "▲": (("DOWN",), "M-5,4 L0,-5 L5,4 Z"),
    "▼": (("UP",), "M-5,-4 L0,5 L5,-4 Z"),
}
_LABEL = r"[^\s\[\]()\u2500-\u257f▶◀▲▼]+"
TOKEN = re.compile(rf"\[[^\[\]]*\]|\([^()]*\)|[▶◀▲▼]|[\u2500-\u257f]|{_LABEL}(?: {_LABEL})*")
SUBSCRIPTS = str.maketrans("ₜₛ₋₊₀₁₂₃₄₅₆₇₈₉", "ts−+0123456789")
SUBSCRIPT = re.compile("([ₜₛ₋₊₀-₉]+)")
CHINESE = {
    "cell": "單元",
    "destination": "目的地",
    "arrival date": "抵達日期",
    "arrive": "抵達",
    "Taipei": "台北",
    "on": "是",
    "November": "十一月",
    "2nd": "二日",
    "forget": "遺忘閘",
    "input": "輸入閘",
    "output": "輸出閘",
}
"""Labels of the Chinese page."""
STYLE = """
.card { fill: #ffffff; stroke: #cbd5e1 }
.line { fill: none; stroke: #475569; stroke-width: 1.8; stroke-linecap: round }
.heavy { fill: none; stroke: #1d4ed8; stroke-width: 4; stroke-linecap: round }
.head { fill: #475569 }
.heavy-head { fill: #1d4ed8 }
.layer { fill: #fde9b8; stroke: #b45309; stroke-width: 1.5 }
.operation { fill: #e0ecff; stroke: #1d4ed8; stroke-width: 1.5 }
text { font: 14px "DejaVu Sans", Verdana, Arial, sans-serif; fill: #0f172a }
.note { fill: #475569; font-size: 12px }
.small { font-size: 10px }
"""


@dataclass(frozen=True)
class Token:
    """A box, operation, line, arrowhead or label, where it starts in the text."""

    text: str
    row: int
    column: int

    @property
    def x(self) -> float:
        """The middle, in pixels."""
        return MARGIN + (self.column + len(self.text) / 2) * WIDTH

    @property
    def y(self) -> float:
        """The middle, in pixels."""
        return MARGIN + (self.row + 0.5) * HEIGHT

    @cached_property
    def ends(self) -> dict[str, bool]:
        """The sides to which a line or arrow goes, and whether it is heavy there."""
        if self.text in ARROWS:
            return dict.fromkeys(ARROWS[self.text][0], False)
        name = unicodedata.name(self.text[0], "")
        if not name.startswith("BOX DRAWINGS "):
            return {}
        words = [word for word in name.split()[2:] if word != "AND"]
        # LIGHT DOWN RIGHT, or DOWN LIGHT HORIZONTAL HEAVY.
        if words[0] in ("LIGHT", "HEAVY"):
            pairs = [(side, words[0]) for side in words[1:]]
        else:
            pairs = []
            sides: list[str] = []
            for word in words:
                if word in ("LIGHT", "HEAVY"):
                    pairs += [(side, word) for side in sides]
                    sides = []
                else:
                    sides.append(word)
        return {
            side: weight == "HEAVY"
            for named, weight in pairs
            for side in ALIASES.get(named, (named,))
        }

    @property
    def is_node(self) -> bool:
        """Whether it is a layer or an operation."""
        return self.text[0] in "[("


class Diagram:
    """The grid of one drawing."""

    def __init__(
        self, name: str, title: str, lines: list[str], words: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.title, self.lines = name, title, lines
        self.words = words or {}
        self.tokens = [
            Token(match[0], row, match.start())
            for row, line in enumerate(lines)
            for match in TOKEN.finditer(line)
        ]
        self.places = {
            (token.row, token.column + offset): token
            for token in self.tokens
            for offset in range(len(token.text))
        }

    @property
    def part(self) -> str:
        """The part whose diagram it is: `lstm` of `cells/lstm.svg` and of `cells/lstm-ng.svg`."""
        return Path(self.name).stem.partition("-")[0] if self.name.startswith("cells/") else ""

    def say(self, label: str) -> str:
        """Return a label in the language of the diagram."""
        return self.words.get(label, label)

    def neighbour(self, token: Token, side: str, offset: int = 0) -> Token | None:
        """Return what is beside a place of `token`."""
        rows, columns = SIDES[side]
        if side == "RIGHT":
            offset = len(token.text) - 1
        return self.places.get((token.row + rows, token.column + offset + columns))

    def loose_ends(self) -> Iterator[str]:
        """Yield each line that leads nowhere, as a mistake in the text."""
        for token in self.tokens:
            for side in token.ends:
                other = self.neighbour(token, side)
                joined = other is not None and (
                    not other.ends or OPPOSITE[side] in other.ends or other.text in ARROWS
                )
                ahead = self.places.get(
                    (token.row + 2 * SIDES[side][0], token.column + 2 * SIDES[side][1])
                )
                if not joined and not (ahead and not ahead.ends and not ahead.is_node):
                    place = f"row {token.row + 1}, column {token.column + 1}"
                    yield f"{self.name}, {place}: {side.lower()} of {token.text} is nothing"

    def render(self) -> str:
        """Return the SVG."""
        width = 2 * MARGIN + WIDTH * max(map(len, self.lines))
        height = 2 * MARGIN + HEIGHT * len(self.lines)
        paths: dict[str, list[str]] = {"line": [], "heavy": []}
        shapes, texts = [], []
        for token in self.tokens:
            for classes, path in self.draw_lines(token):
                paths[classes].append(path)
            if token.text in ARROWS:
                ends = [
                    other.ends.get(OPPOSITE[side], False)
                    for side in token.ends
                    if (other := self.neighbour(token, side))
                ]
                head = "heavy-head" if any(ends) else "head"
                shapes.append(
                    f'<path class="{head}" transform="translate({token.x:g},{token.y:g})"'
                    f' d="{ARROWS[token.text][1]}"/>'
                )
            elif token.is_node:
                shapes.append(draw_node(token))
                label = self.say(token.text[1:-1].strip())
                texts.append(draw_text(label, token.x, token.y, "middle", plain=True))
            elif not token.ends:
                texts.append(self.draw_label(token))
        body = [
            f'<path class="{name}" d="{" ".join(parts)}"/>'
            for name, parts in paths.items()
            if parts
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">\n<title>{escape(self.title)}</title>\n'
            f"<style>{STYLE}</style>\n"
            f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}"'
            ' rx="8"/>\n' + "\n".join([*body, *shapes, *texts]) + "\n</svg>\n"
        )

    def draw_lines(self, token: Token) -> Iterator[tuple[str, str]]:
        """Yield class and path of the lines from the middle of a token to its sides."""
        x, y = token.x, token.y
        reach = {
            "LEFT": (x - WIDTH / 2, y),
            "RIGHT": (x + WIDTH / 2, y),
            "UP": (x, y - HEIGHT / 2),
            "DOWN": (x, y + HEIGHT / 2),
        }
        ends = token.ends
        if token.text in ARROWS:
            (side,) = ends
            other = self.neighbour(token, side)
            heavy = bool(other and other.ends.get(OPPOSITE[side]))
            weight = "heavy" if heavy else "line"
            yield weight, "M{:g},{:g} L{:g},{:g}".format(*reach[side], x, y)
            ahead = self.neighbour(token, OPPOSITE[side])
            if ahead and side in ahead.ends:
                yield weight, "M{:g},{:g} L{:g},{:g}".format(x, y, *reach[OPPOSITE[side]])
        elif (
            len(ends) == 2
            and not {*ends} <= {*ALIASES["HORIZONTAL"]}
            and not {*ends} <= {*ALIASES["VERTICAL"]}
        ):
            one, end = (reach[side] for side in ends)
            weight = "heavy" if all(ends.values()) else "line"
            yield weight, "M{:g},{:g} Q{:g},{:g} {:g},{:g}".format(*one, x, y, *end)
        else:
            for side, heavy in ends.items():
                yield (
                    "heavy" if heavy else "line",
                    "M{:g},{:g} L{:g},{:g}".format(*reach[side], x, y),
                )
        if token.is_node:
            # Lines go on under the shape, which is not as wide as its text.
            for side in ("LEFT", "RIGHT"):
                other = self.neighbour(token, side)
                if other is not None and OPPOSITE[side] in other.ends and other.text not in ARROWS:
                    edge = x + (len(token.text) / 2) * WIDTH * SIDES[side][1]
                    weight = "heavy" if other.ends[OPPOSITE[side]] else "line"
                    yield weight, f"M{edge:g},{y:g} L{x:g},{y:g}"

    def draw_label(self, token: Token) -> str:
        """Return a label, in the middle of a line that ends above or below it."""
        for offset in range(len(token.text)):
            above, below = (self.neighbour(token, side, offset) for side in ("UP", "DOWN"))
            if (above and "DOWN" in above.ends) or (below and {"UP", "DOWN"} & {*below.ends}):
                x = MARGIN + (token.column + offset + 0.5) * WIDTH
                return draw_text(self.say(token.text), x, token.y, "middle")
        return draw_text(self.say(token.text), MARGIN + token.column * WIDTH, token.y, "start")


def draw_node(token: Token) -> str:
    """Return the shape of a layer or an operation."""
    size = len(token.text) * WIDTH
    if token.text[0] == "[":
        return (
            f'<rect class="layer" x="{token.x - size / 2:g}" y="{token.y - 14:g}" width="{size}"'
            ' height="28" rx="4"/>'
        )
    width = max(26, size - 6)
    return (
        f'<rect class="operation" x="{token.x - width / 2:g}" y="{token.y - 13:g}" width="{width}"'
        ' height="26" rx="13"/>'
    )


def draw_text(text: str, x: float, y: float, anchor: str, *, plain: bool = False) -> str:
    """Return a text whose middle is at the height y; words are smaller unless `plain`."""
    note = ' class="note"' if re.search("[A-Za-z]{2}|[一-鿿]", text) and not plain else ""
    spans = []
    for piece in SUBSCRIPT.split(text):
        if SUBSCRIPT.fullmatch(piece):
            spans.append(f'<tspan class="small" dy="4">{piece.translate(SUBSCRIPTS)}</tspan>')
        elif piece:
            back = ' dy="-4"' if spans else ""
            spans.append(f"<tspan{back}>{escape(piece)}</tspan>" if spans else escape(piece))
    return f'<text{note} x="{x:g}" y="{y + 5:g}" text-anchor="{anchor}">{"".join(spans)}</text>'


def read_diagrams() -> list[Diagram]:
    """Return the diagrams of the text: each begins with a line `# FILE: TITLE`."""
    found = []
    for part in re.split(r"^# ", TEXT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, _, drawing = part.partition("\n")
        name, _, title = head.partition(": ")
        lines = [line.rstrip() for line in drawing.strip("\n").split("\n")]
        found.append(Diagram(name, title, lines))
    return [*found, *translate_diagrams(found)]


def translate_diagrams(diagrams: list[Diagram]) -> Iterator[Diagram]:
    """Yield those that the Chinese page has in its own folder."""
    pictures = re.findall(
        r"!\[([^\]]+)\]\((lecture/zh-TW/[^)]+)\)", CHINESE_PAGE.read_text(encoding="utf-8")
    )
    for title, name in pictures:
        for diagram in diagrams:
            if Path(diagram.name).name == Path(name).name:
                yield Diagram(name, title, diagram.lines, CHINESE)


def main() -> int:
    """Write the pictures, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a picture would change"
    )
    args = parser.parse_args()
    diagrams = read_diagrams()
    if mistakes := [mistake for diagram in diagrams for mistake in diagram.loose_ends()]:
        print(*mistakes, sep="\n", file=sys.stderr)
        return 1
    stale = []
    for diagram in diagrams:
        path, svg = ROOT / "docs" / diagram.name, diagram.render()
        if path.is_file() and path.read_text(encoding="utf-8") == svg:
            continue
        stale.append(diagram.name)
        if not args.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(svg, encoding="utf-8", newline="\n")
    if args.check and stale:
        print(f"{', '.join(stale)}: run scripts/make_diagrams.py", file=sys.stderr)
    return int(bool(args.check and stale))


if __name__ == "__main__":
    sys.exit(main())
