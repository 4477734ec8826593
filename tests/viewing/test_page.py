"""The page's addresses: what they give is what `predict` and `explain` give, and nothing of the patient."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from starlette.testclient import TestClient

from radgaze.dicom.read import read_image
from radgaze.explaining.making import explained
from radgaze.explaining.options import ExplainOptions
from radgaze.predicting.options import PredictOptions
from radgaze.predicting.predict import predict
from radgaze.runs.data import gaze_maps
from radgaze.runs.run import Run
from radgaze.store.placement import Frame
from radgaze.viewing.network import MASK
from radgaze.viewing.service import GAZE
from tests.viewing.conftest import LARGEST
from tests.viewing.files import HIDDEN, dicom, noise, png

FEW = ("guided_backprop", "grad_cam", "occlusion")


def sent(client: TestClient, content: bytes) -> str:
    """The key of an image that is sent."""
    response = client.post("/api/images", content=content)
    assert response.status_code == 201, response.text
    key: str = response.json()["key"]
    return key


def probabilities(client: TestClient, key: str, run: int = 0) -> list[float]:
    reading = client.get(f"/api/images/{key}/reading", params={"run": run}).json()
    return [each["probability"] for each in reading["classes"]]


def greys(response: Any, rows: int, columns: int) -> NDArray[np.uint16]:
    assert response.status_code == 200, response.text
    return np.frombuffer(response.content, "<u2").reshape(rows, columns)


def map_of(
    client: TestClient, key: str, method: str, target: str, *, smoothed: bool = False
) -> tuple[NDArray[np.uint16], list[float]]:
    query = {"method": method, "target": target, "smoothed": str(int(smoothed))}
    response = client.get(f"/api/images/{key}/map", params=query)
    side = int(response.headers["x-side"])
    return greys(response, side, side), [float(word) for word in response.headers["x-place"].split()]


def test_a_file_is_predicted_and_explained_as_by_the_commands(
    client: TestClient, run: Run, tmp_path: Path
) -> None:
    for name, content in (
        ("a.dcm", dicom(tmp_path, noise(90, 70))),
        ("b.png", png((255 * noise(50, 80)).astype(np.uint8))),
        ("c.png", png((60000 * noise(60, 60)).astype(np.uint16))),
    ):
        (tmp_path / name).write_bytes(content)
        key = sent(client, content)
        expected = predict(run, [str(tmp_path / name)], PredictOptions(device="cpu"))
        for side in (0, 1):
            np.testing.assert_allclose(probabilities(client, key, side), expected.probabilities[0], atol=1e-6)
        options = ExplainOptions(methods=FEW, target="all", device="cpu")
        maps = explained(run, [str(tmp_path / name)], options)
        for method in FEW:
            for k, target in enumerate(run.classes):
                shown, _ = map_of(client, key, method, target)
                np.testing.assert_allclose(shown / 65535, maps.heatmaps[method][0, k], atol=1e-4)


def test_a_case_is_predicted_and_explained_as_by_the_commands(client: TestClient, run: Run) -> None:
    cases = client.get("/api/cases", params={"split": "test"}).json()
    assert cases["count"] == (run.store.cases["split"] == "test").sum() == len(cases["cases"])
    for case in cases["cases"]:
        key = f"case-{case['row']}"
        expected = explained(
            run, [case["case_id"]], ExplainOptions(methods=("grad_cam",), target="predicted", device="cpu")
        )
        np.testing.assert_allclose(probabilities(client, key), expected.probabilities[0], atol=1e-6)
        shown, _ = map_of(client, key, "grad_cam", expected.targets[0][0])
        np.testing.assert_allclose(shown / 65535, expected.heatmaps["grad_cam"][0], atol=1e-4)
        mask, _ = map_of(client, key, MASK, expected.targets[0][0])
        assert expected.mask is not None
        np.testing.assert_allclose(mask / 65535, expected.mask[0], atol=1e-4)
        gaze = expected.parts[0].subject.gaze  # type: ignore[union-attr]
        about = client.get(f"/api/images/{key}").json()
        assert about["truth"] == case["truth"].split(", ")
        assert bool(about["fixations"]) == (gaze is not None)
        if gaze is None:
            refused = client.get(f"/api/images/{key}/map", params={"method": GAZE})
            assert refused.json()["reason"] == "no_gaze"
        else:
            shown, _ = map_of(client, key, GAZE, "")
            np.testing.assert_allclose(shown / 65535, gaze / gaze.max(), atol=1e-4)


def test_heatmaps_are_smoothed_by_the_width_of_the_gaze_maps_unless_told_otherwise(
    client: TestClient, run: Run, tmp_path: Path
) -> None:
    key = sent(client, dicom(tmp_path, noise(64, 64)))
    raw, _ = map_of(client, key, "grad_cam", run.classes[0])
    shown, _ = map_of(client, key, "grad_cam", run.classes[0], smoothed=True)
    geometry = Frame(64, 64, 64).geometry("stretch", run.config.input.size)
    sigma = gaze_maps(run.config.gaze).image_sigma(geometry) * geometry.scale_x
    expected = gaussian_filter(raw / 65535, sigma, mode="reflect", truncate=4)
    np.testing.assert_allclose(shown / 65535, expected / expected.max(), atol=2e-3)
    default = client.get(f"/api/images/{key}/map", params={"method": "grad_cam", "target": run.classes[0]})
    assert default.content == shown.tobytes()
    mask, _ = map_of(client, key, MASK, run.classes[0])
    np.testing.assert_array_equal(mask, map_of(client, key, MASK, run.classes[0], smoothed=True)[0])


def test_greys_are_those_of_the_file_and_its_window_comes_first(client: TestClient, tmp_path: Path) -> None:
    pixels = noise(40, 30)
    content = dicom(tmp_path, pixels, WindowCenter=1500, WindowWidth=800)
    (tmp_path / "a.dcm").write_bytes(content)
    key = sent(client, content)
    about = client.get(f"/api/images/{key}").json()
    values = greys(client.get(f"/api/images/{key}/pixels"), 40, 30).astype(float)
    # Beyond the file's window nothing is lost: the values follow the stored ones, linearly.
    np.testing.assert_allclose(values / values.max(), pixels / pixels.max(), atol=3e-4)
    low, high = about["window"]
    windowed = np.clip((values - low) / (high - low), 0, 1)
    np.testing.assert_allclose(windowed, read_image(tmp_path / "a.dcm"), atol=1.5 / 255)


@pytest.mark.parametrize("shape", [(64, 64), (90, 40), (40, 90), (233, 117), (64, 65)])
def test_a_dot_lies_under_its_place_on_the_map(
    client: TestClient, run: Run, tmp_path: Path, shape: tuple[int, int]
) -> None:
    """The model's input is itself a map of the image: a dot on it is where the dot of the file is."""
    rows, columns = shape
    side = run.config.input.size
    for y, x in ((rows // 3, columns // 4), (rows - 8, columns - 8), (6, columns // 2)):
        pixels = np.zeros(shape)
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 1.0  # centred on the centre of pixel (y, x)
        (tmp_path / "dot.dcm").write_bytes(content := dicom(tmp_path, pixels))
        key = sent(client, content)
        left, top, right, bottom = map_of(client, key, "grad_cam", run.classes[0])[1]
        only = ExplainOptions(methods=("grad_cam",), device="cpu")
        images = explained(run, [str(tmp_path / "dot.dcm")], only).images
        assert images is not None
        at = np.arange(side) + 0.5
        weights = images[0] / images[0].sum()
        found = (weights.sum(0) @ at, weights.sum(1) @ at)
        shown = (left + found[0] * (right - left) / side, top + found[1] * (bottom - top) / side)
        # The store's square has 64 pixels a side: a tenth of one of them.
        assert shown == pytest.approx((x + 0.5, y + 0.5), abs=max(0.25, 0.1 * max(shape) / 64))


def test_boxes_and_fixations_of_a_case_lie_where_the_store_says(client: TestClient, run: Run) -> None:
    store = run.store
    for row in range(4):
        about = client.get(f"/api/images/case-{row}").json()
        case = store.cases.row(row, named=True)
        scale = about["columns"] / case["columns"]
        assert about["rows"] / case["rows"] == pytest.approx(scale, rel=0.03)
        assert about["case"] == case["case_id"]
        (mark,) = about["marks"]
        assert mark["label"] == "heart"
        np.testing.assert_allclose(np.array(mark["corners"]) / case["scale"], [1, 2, 30, 40], atol=1e-9)
        readings = store.readings.filter(case_id=case["case_id"])["reading_id"]
        fixations = store.fixations.filter(store.fixations["reading_id"].is_in(readings.implode()))
        assert len(about["fixations"]) == fixations.height
        if fixations.height:
            expected = fixations.select("x", "y").to_numpy() * case["scale"]
            np.testing.assert_allclose([each[:2] for each in about["fixations"]], expected, atol=1e-9)


BROKEN = {
    "not_dicom": (b"no image at all, but a text of some length" * 10, "not an image"),
    "empty": (b"", "empty"),
    "truncated": (png(np.zeros((60, 60), np.uint8))[:-30], "damaged or incomplete"),
    "not_grey": (png((255 * np.random.default_rng(0).random((9, 9, 3))).astype(np.uint8)), "colour"),
    "unsupported_format": (b"GIF89a" + bytes(200), "format"),
    "not_a_picture": (b"\x89PNG\r\n\x1a\n" + bytes(300), "not an image"),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_file_is_told_in_words_and_costs_nothing_else(client: TestClient, reason: str) -> None:
    content, words = BROKEN[reason]
    response = client.post("/api/images", content=content)
    assert response.status_code == 422
    assert response.json()["reason"] == reason
    assert words in response.json()["wrong"]
    assert response.json()["advice"]
    assert sent(client, png(np.zeros((30, 30), np.uint8)))


def test_a_lateral_view_is_refused_with_advice(client: TestClient, tmp_path: Path) -> None:
    response = client.post("/api/images", content=dicom(tmp_path, noise(30, 30), ViewPosition="LL"))
    assert response.status_code == 422
    assert response.json()["reason"] == "not_frontal"
    assert "lateral" in response.json()["wrong"]
    assert "PA or AP" in response.json()["advice"]


def test_a_file_or_image_that_is_too_large_is_refused(client: TestClient, tmp_path: Path) -> None:
    large = bytes(LARGEST * 2**20 + 1)
    assert client.post("/api/images", content=large).status_code == 413

    def parts() -> object:  # without a length, as a client that does not tell it
        yield from (bytes(2**20) for _ in range(3 * LARGEST))

    assert client.post("/api/images", content=parts()).status_code == 413  # type: ignore[arg-type]
    told = {"content-length": str(10**12)}
    assert client.post("/api/images", content=b"x", headers=told).status_code == 413
    wide = png(np.zeros((LARGEST * 1024, 1100), np.uint8))
    assert len(wide) < 2**16
    response = client.post("/api/images", content=wide)
    assert (response.status_code, response.json()["reason"]) == (422, "too_large")


def test_nothing_of_the_patient_is_answered_logged_or_written(
    client: TestClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = dicom(tmp_path, noise(50, 50))
    assert all(word in content for word in HIDDEN)
    before = sorted(tmp_path.rglob("*"))
    answers = [client.post("/api/images", content=content), client.post("/api/images", content=content[:-9])]
    key = answers[0].json()["key"]
    ends = ("", "/pixels", "/reading", "/map?method=grad_cam&target=CHF", "/map?method=none")
    answers += [client.get(f"/api/images/{key}{end}") for end in ends]
    answers += [client.get("/"), client.get("/api/about"), client.get("/api/cases")]
    for response in answers:
        for word in HIDDEN:
            assert word not in response.content
            assert word.decode() not in str(response.headers)
    said = capfd.readouterr()
    assert said.out + said.err == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "address",
    [
        "/api/images/image-unknown",
        "/api/images/image-unknown/pixels",
        "/api/images/case-16",
        "/api/images/case--1/reading",
        "/api/images/case-%D9%A1/reading",
        "/api/images/case-0/reading?run=2",
        "/api/images/case-0/map?method=nothing&target=CHF",
        "/api/images/case-0/map?method=grad_cam&target=nothing",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/elsewhere",
    ],
)
def test_what_there_is_not_is_a_404_in_words(client: TestClient, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert response.json()["wrong"]


def test_an_image_can_be_forgotten(client: TestClient) -> None:
    key = sent(client, png(np.zeros((30, 30), np.uint8)))
    assert probabilities(client, key)
    assert client.delete(f"/api/images/{key}").status_code == 204
    response = client.get(f"/api/images/{key}/reading")
    assert (response.status_code, response.json()["reason"]) == (404, "forgotten")


def test_cases_are_found_by_id_class_and_split(client: TestClient, run: Run) -> None:
    def found(**query: object) -> list[str]:
        answer = client.get("/api/cases", params=query).json()  # type: ignore[arg-type]
        return [each["case_id"] for each in answer["cases"]]

    assert len(found()) == len(run.store)
    assert found(word="CASE-05") == ["case-05"]
    assert set(found(word="pneumonia")) == set(run.store.cases.filter(label_pneumonia=1)["case_id"])
    assert found(start=14) == found()[14:]
    assert found(word=".*") == []
    assert found(start="x", word="") == found()


def test_about_tells_what_is_known_of_the_probabilities(client: TestClient, run: Run) -> None:
    about = client.get("/api/about").json()
    assert [each["name"] for each in about["runs"]] == [run.name] * 2
    assert about["runs"][0]["classes"] == list(run.classes)
    assert about["runs"][0]["rule"] is None
    assert about["runs"][0]["calibration"] == "Calibration not measured."
    assert "grad_cam" in {each["name"] for each in about["runs"][0]["methods"]}


def test_the_page_uses_nothing_from_elsewhere_and_no_inline_code(client: TestClient) -> None:
    page = client.get("/").text
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(name.startswith(("static/", "data:,")) for name in names)
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", page)
    todo, seen = [name for name in names if name.startswith("static/")], set[str]()
    while todo:
        name = todo.pop()
        seen.add(name)
        response = client.get(f"/{name}")
        assert response.status_code == 200
        assert not re.search(r"https?://|innerHTML|eval\(|document\.write", response.text)
        more = [f"static/{each}" for each in re.findall(r'from "\./([^"]+)"', response.text)]
        todo += [each for each in more if each not in seen]
    assert {"static/page.js", "static/viewer.js", "static/style.css"} <= seen
