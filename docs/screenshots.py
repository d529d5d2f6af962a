"""Takes the pictures of the docs from a running UI (`make up` after `make run`) in headless Chromium.

`python docs/screenshots.py [ADDRESS]`; the pictures go to `docs/images/`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).with_name("images")
GRAPHS = {
    "lineage.png": ("", (), (1800, 600)),
    "ecom_assets.png": (
        '+key:"published/fct_order_items"',
        ("raw", "staging", "intermediate", "marts", "published"),
        (2200, 2000),
    ),
    "ml_assets.png": (
        'code_location:"ml_assets"',
        ("features", "models", "predictions", "causal", "serving"),
        (1800, 1000),
    ),
}
"""Each picture's asset selection, the groups that are unfolded in it, and its width and height in pixels."""

PAGES = {
    "failed_check.png": ("/assets/raw/order_items?view=checks&checkDetail=volume_is_usual", (1500, 900)),
}
"""Each other picture's page, and its size: the simulated shop has a Black Week, which is like no week before it."""

LAYOUT_MILLISECONDS = 8_000


def address_of(selection: str, unfolded: tuple[str, ...]) -> str:
    """The path of the lineage page that shows `selection`."""
    groups = quote(",".join(f"global@global:{group}" for group in unfolded), safe="")
    return f"/asset-groups{'~' + quote(selection, safe='') + '/' if selection else ''}?expanded={groups}"


def main(address: str) -> None:
    """Take each picture once it is laid out."""
    pages = {name: (address_of(*of), size) for name, (*of, size) in GRAPHS.items()} | PAGES
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        for name, (path, (width, height)) in pages.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(address + path)
            page.wait_for_timeout(LAYOUT_MILLISECONDS)
            page.screenshot(path=IMAGES / name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
