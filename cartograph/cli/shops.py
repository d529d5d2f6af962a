"""`cartograph shops`: which shops there are, and what is right and wrong with what a shop's sources deliver."""

from __future__ import annotations

import typer

from cartograph.cli.console import output
from cartograph.settings import load_settings
from cartograph.shops import ShopError, list_shops, load_shop

app = typer.Typer(help="Shops and what their sources deliver.", no_args_is_help=True)


@app.command("list")
def show_shops() -> None:
    """List the shops; the chosen one is marked."""
    settings = load_settings()
    for name in list_shops(settings):
        mark = "→" if name == settings.shop else " "
        try:
            shop = load_shop(settings, name)
        except ShopError as mistake:
            output.print(f"{mark} {name:<20} [red]{mistake}[/]")
        else:
            output.print(f"{mark} {name:<20} {shop.title}, {shop.start} to {shop.end or 'open'}")
