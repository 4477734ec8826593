"""Make docs/images/ohif.png: a study with the worker's results in OHIF, while the demo runs.

    python -m tools.clinic.picture ADDRESS/viewer?StudyInstanceUIDs=STUDY [PNG]

ADDRESS and STUDY are those that `make clinic-demo` prints.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from tools.clinic.viewer import opened

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "ohif.png"
SETTLED = 4000
"""Milliseconds until all that is opened is drawn."""


def main(arguments: list[str]) -> int:
    """Make the picture.

    Args:
        arguments: The address of the study and, perhaps, the file to write, see the module.
    """
    address, _, study = arguments[0].partition("/viewer?StudyInstanceUIDs=")
    path = Path(arguments[1]) if len(arguments) > 1 else PICTURE
    with opened(address, study) as viewer:
        viewer.lay_out("radgaze regions", "radgaze overview")
        viewer.page.wait_for_timeout(SETTLED)
        with Image.open(io.BytesIO(viewer.page.screenshot())) as picture:
            colours = picture.convert("RGB")
            colours.quantize(palette=colours.quantize(256)).save(path, optimize=True)  # dithered
    print(f"{path}: {path.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
