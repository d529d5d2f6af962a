"""Markdown as a page of its own that opens anywhere: memos, for people who have no Dagster."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #20242c; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } img { max-width: 100%; } code { background: #f2f4f7; padding: 0 .2em; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid #d8dce3; padding: .3em .8em .3em 0; }
th, td { text-align: left; vertical-align: top; }
blockquote { border-left: 4px solid #a8324a; margin: 0; padding-left: 1em; }
"""


def html_of(markdown: str, title: str) -> str:
    """A whole HTML page of CommonMark with tables; tags in the text are shown as text, so that it can do nothing."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    allowed = reader.validateLink
    reader.validateLink = lambda url: url.startswith("data:image/svg+xml;base64,") or allowed(url)  # type: ignore[method-assign]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{reader.render(markdown)}</body>\n"
        "</html>\n"
    )


def with_pictures(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The Markdown with the SVG `pictures`, by the file names that it refers to them by, within the text itself."""
    for file, content in pictures.items():
        markdown = markdown.replace(f"]({file})", f"](data:image/svg+xml;base64,{b64encode(content).decode()})")
    return markdown
