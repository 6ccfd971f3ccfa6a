"""Hooks of mkdocs: the pages of the repository, and what they link to, under the same paths."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#:]+)")
FENCE_WITH_FILE = re.compile(r"^( *```\w+) ([\w.-]+)$", re.MULTILINE)
LANGUAGES = {".py": "python", ".jinja": "html+jinja", ".toml": "toml", "": "bash"}
LANGUAGES |= {".yaml": "yaml", ".yml": "yaml"}
SOURCE = """---
search: {{exclude: true}}
---
# {name}

````````{language}
{text}
````````
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the images, source files and folders that they link to."""
    found = [*PAGES, *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("data/*/*.md"))]
    for page in found:  # It grows.
        if page.suffix == ".md":
            links = LINK.findall(page.read_text(encoding="utf-8"))
            targets = {(page.parent / target).resolve() for _, target in links}
            found += sorted({each for each in targets if each.exists()} - {*found})
    for path in found:
        uri = site_path(path).relative_to(ROOT).as_posix()
        if uri == path.relative_to(ROOT).as_posix():
            file = File.generated(config, uri, abs_src_path=str(path))
        else:
            text = render_folder(path, {*found}) if path.is_dir() else render_source(path)
            file = File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to source files to their pages; write titles for the names of files."""
    folder = (ROOT / page.file.src_uri).parent

    def point(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = (folder / target).resolve()
        if not path.exists():
            return link[0]
        if path.suffix == ".md" and text.endswith(".md"):
            text = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        return f"[{text}]({target.rstrip('/')}{site_suffix(path)}"

    return FENCE_WITH_FILE.sub(r'\1 title="\2"', LINK.sub(point, markdown))


def site_path(path: Path) -> Path:
    """Return the path of the page of a file or folder, or of the file where it is copied."""
    return Path(f"{path}{site_suffix(path)}")


def site_suffix(path: Path) -> str:
    """Return what the page of a file or folder has at the end of its name."""
    return "/index.md" if path.is_dir() else ".md" if path.suffix in LANGUAGES else ""


def render_source(path: Path) -> str:
    """Return the page of a source file."""
    name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    return SOURCE.format(name=name, language=LANGUAGES[path.suffix], text=text.rstrip())


def render_folder(folder: Path, found: set[Path]) -> str:
    """Return the page of a folder: its files, each with the first line of its docstring."""
    lines = [f"# {folder.relative_to(ROOT).as_posix()}", ""]
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        name = f"[{path.name}]({path.name})" if path in found else f"`{path.name}`"
        module = path / "__init__.py" if path.is_dir() else path
        text = ""
        if module.suffix == ".py" and module.exists():
            tree = ast.parse(module.read_text(encoding="utf-8"))
            text = (ast.get_docstring(tree) or "").partition("\n")[0]
        lines.append(f"- {name}: {text}" if text else f"- {name}")
    return "\n".join(lines)
