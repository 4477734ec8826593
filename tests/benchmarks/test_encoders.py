"""The benchmark of encoders has a row for each method that a network has."""

from __future__ import annotations

import pytest

from benchmarks import encoders


@pytest.mark.slow
def test_each_method_has_a_row_and_those_at_the_images_a_straight_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = {"tiny": {"encoder": "tu-test_vit"}, "net": {"encoder": "tu-test_efficientnet"}}
    monkeypatch.setattr(encoders, "NETWORKS", tiny)
    rows = encoders.run(batch=2, size=64, repeats=1).rows
    of_vit = [row for row in rows if row["network"] == "tiny"]
    assert [row["method"] for row in of_vit] == list(encoders.METHODS)
    assert "attention" not in [row["method"] for row in rows if row["network"] == "net"]
    for row in rows:
        at_images = row["method"] in ("guided_backprop", "backprop")
        assert (row["ours / straight"] != "") == at_images
        assert (row["map / Captum's"] != "") == at_images
        assert row["ours / plain"] != ""
