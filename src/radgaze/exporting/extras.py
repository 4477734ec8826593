"""The libraries that formats need, which the extra `export` installs."""

from __future__ import annotations

from importlib.util import find_spec

from radgaze.errors import UserError

EXTRA = "export"
LIBRARIES: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "monai": ("monai",),
}
"""The libraries of each format; the others need none."""


def check_extras(to: str) -> None:
    """Check that the libraries of a format are installed.

    Raises:
        UserError: One is not.
    """
    for library in LIBRARIES.get(to, ()):
        if find_spec(library) is None:
            raise UserError(f'`to={to}` needs {library}: pip install "radgaze[{EXTRA}]"')
