"""Takes the README's pictures from a running UI (`make up` after `make run`) in headless Chromium.

`python docs/screenshots.py [ADDRESS]`; the pictures go to `docs/images/`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).with_name("images")
PAGES = {
    "ecom_assets.png": "/locations/ecom_assets/asset-graph",
    "ml_assets.png": "/locations/ml_assets/asset-graph",
    "whole_graph.png": "/asset-groups",
}
LAYOUT_MILLISECONDS = 8_000


def main(address: str) -> None:
    """Take each page, as large as a reader's screen, once its graph is laid out."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_page(viewport={"width": 1800, "height": 1100})
        for name, path in PAGES.items():
            page.goto(address + path)
            page.wait_for_timeout(LAYOUT_MILLISECONDS)
            page.screenshot(path=IMAGES / name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
