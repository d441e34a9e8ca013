"""Takes the pictures of the dashboards that the docs show: light and dark, with Chromium.

foreshock dashboards pictures --database sqlite:///.foreshock/demo.db
python -m tests.pipelines.dashboards.taking dashboards.html docs/images
"""

import argparse
import base64
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.pipelines.dashboards.test_pictures import DRAWN
from tests.servers.chromium import Browser

_TAKEN = {"foreshock-mood": "light", "foreshock-company": "dark"}
_WIDTH, _MOST_HEIGHT = 1120, 1150
_PLACE = """(() => {
  const board = document.getElementById("%s"), top = board.getBoundingClientRect().top + scrollY;
  const ends = [...board.querySelectorAll(".panel")].map(
    (panel) => panel.getBoundingClientRect().bottom + scrollY - top + 14);
  return [top, Math.max(...ends.filter((end) => end <= %d))];
})()"""
_COLOURS = 64  # of 24 bits: a third of the bytes, and nobody sees it


def take(page: Path, folder: Path) -> None:
    """Writes `dashboard-mood.png` and `dashboard-company.png`: the head of each dashboard."""
    with TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        screen = {"width": _WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **screen)
        browser.call("Emulation.setScrollbarsHidden", hidden=True)
        for section, scheme in _TAKEN.items():
            media = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.call("Emulation.setEmulatedMedia", features=media)
            browser.open(page.resolve().as_uri())
            browser.value(DRAWN)
            top, height = browser.value(_PLACE % (section, _MOST_HEIGHT))
            clip = {"x": 0, "y": top, "width": _WIDTH, "height": height, "scale": 1}
            shot = browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
            picture = Image.open(io.BytesIO(base64.b64decode(shot["data"])))
            name = section.replace("foreshock", "dashboard")
            few = picture.convert("RGB").quantize(_COLOURS)
            few.save(folder / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    take(given.page, given.folder)
