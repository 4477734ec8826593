"""`radgaze predict --dicom` and `explain --dicom`: folders without identifiers, and mistakes told at once."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from radgaze.cli import main
from radgaze.clinic.objects import KINDS
from radgaze.runs.run import Run
from tests.clinic.images import SECRETS, dot, read, uid, write_dx

FILES = sorted(f"{kind}.dcm" for kind in KINDS)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two radiographs, a lateral view and a result that is cut off."""
    made = tmp_path / "Secretname"
    made.mkdir()
    for k, name in enumerate(("a.dcm", "b.dcm")):
        write_dx(made / name, dot((60, 50), (20, 20 + k)))
    write_dx(made / "c.dcm", dot((60, 50), (20, 20)), ViewPosition="LL")
    (made / "d.dcm").write_bytes((made / "a.dcm").read_bytes()[:2000])
    return made


def words(verb: str, run: Run, images: Path, *more: str) -> list[str]:
    return [verb, str(run.path), str(images), "--device", "cpu", *more]


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_each_image_has_a_folder_whose_name_is_a_number(
    run: Run, images: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dicom"
    assert main(words(verb, run, images, "--dicom", str(out))) == 1
    assert sorted(path.name for path in out.iterdir()) == ["image-001", "image-002"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o700}
    for folder in out.iterdir():
        assert sorted(path.name for path in folder.iterdir()) == FILES
    said = capsys.readouterr()
    assert f"{images / 'c.dcm'} has no results as DICOM: not_frontal" in said.err
    assert f"{images / 'd.dcm'} has no results as DICOM: truncated" in said.err
    for secret in (*SECRETS[1:], str(uid("study"))):
        assert secret not in said.out + said.err
    assert main(words(verb, run, images, "--dicom", str(out))) == 2
    assert "exists, perhaps of another image" in capsys.readouterr().err
    assert main(words(verb, run, images, "--dicom", str(out), "--overwrite")) == 1


def test_no_object_of_another_image_stays_in_a_folder_that_is_overwritten(
    run: Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dicom"
    assert main(words("predict", run, images / "a.dcm", "--dicom", str(out))) == 0
    (out / "image-001" / "notes.txt").write_text("of the user")
    replaced = words("predict", run, images / "d.dcm", "--dicom", str(out), "--overwrite")
    assert main(replaced) == 1
    assert [path.name for path in (out / "image-001").iterdir()] == ["notes.txt"]


def test_no_number_of_an_earlier_call_keeps_its_objects(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "dicom"
    assert main(words("predict", run, images, "--dicom", str(out))) == 1
    assert {path.parent.name for path in out.rglob("*.dcm")} == {"image-001", "image-002"}
    assert main(words("predict", run, images / "b.dcm", "--dicom", str(out), "--overwrite")) == 0
    assert {path.parent.name for path in out.rglob("*.dcm")} == {"image-001"}


def test_the_table_and_the_results_are_of_one_prediction(run: Run, images: Path, tmp_path: Path) -> None:
    import polars as pl

    table, out = tmp_path / "p.csv", tmp_path / "dicom"
    assert main(words("predict", run, images / "a.dcm", "--out", str(table), "--dicom", str(out))) == 0
    row = pl.read_csv(table).row(0, named=True)
    groups = read(out / "image-001" / "sr.dcm").to_json()
    for name in run.classes:
        assert f"{row[f'probability_{name}']:.4f}"[:5] in groups


def test_without_the_patient(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "dicom"
    assert main(words("predict", run, images / "a.dcm", "--dicom", str(out), "--no-patient")) == 0
    assert not read(out / "image-001" / "sr.dcm").PatientName


def test_the_maps_are_of_the_named_method(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "dicom"
    more = ("--methods", "grad_cam", "--dicom", str(out))
    assert main(words("explain", run, images / "a.dcm", *more)) == 0
    assert "grad_cam" in read(out / "image-001" / "seg.dcm").SegmentSequence[0].SegmentDescription


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--no-patient",), "--no-patient is about results as DICOM: set --dicom DIR as well"),
        ((), "--dicom DIR for results as DICOM, or both"),
        (
            ("--dicom", "out", "--methods", "grad_cam,backprop"),
            "one method: name one in --methods",
        ),
    ],
)
def test_mistakes_are_told(
    run: Run, images: Path, more: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("explain", run, images, *more)) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_case_has_no_file_to_refer_to(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predict", str(run.path), "case-00", "--dicom", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "keeps no DICOM file" in " ".join(capsys.readouterr().err.split())
