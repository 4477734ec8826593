"""UIDs of results, which follow from the image, the model, the kind of object and the options.

The same image, model and options always give the same UIDs, so that an archive which gets a result twice
keeps one.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping

Value = str | float | bool | None


def uid(level: str, image: str, kind: str, settings: Mapping[str, Value]) -> str:
    """Make a UID, 2.25 and the number of a name-based UUID (DICOM PS3.5, B.2).

    Args:
        level: What the UID is of: "series", "instance", or a part of an instance.
        image: SOP Instance UID of the image.
        kind: Kind of the object.
        settings: The model and the options that the object depends on.
    """
    words = json.dumps(["radgaze", level, image, kind, dict(sorted(settings.items()))], sort_keys=True)
    digest = hashlib.sha256(words.encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
