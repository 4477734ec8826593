"""Over two hundred files with every fault there is: what can be seen is prepared, the rest told."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from radgaze.cli import main
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.dicom.files import lut, write
from tests.dicom.jpeg import KINDS, write_jpeg

SHAPE = (45, 33)
EACH = 5


def pixels(bits: int, *, signed: bool = False) -> np.ndarray:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    found = np.random.default_rng(bits).integers(low, high, SHAPE)
    return found.astype(("i" if signed else "u") + ("1" if bits <= 8 else "2"))


def plain(
    bits: int = 12, *, signed: bool = False, syntax: str = ExplicitVRLittleEndian, **elements: object
) -> Callable[[Path], object]:
    return lambda path: write(path, pixels(bits, signed=signed), bits=bits, syntax=syntax, **elements)


def cut(path: Path) -> None:
    content = write(path, pixels(12), bits=12).read_bytes()
    path.write_bytes(content[: len(content) - 400])


def encoded(kind: str) -> Callable[[Path], object]:
    bits = KINDS[kind][2][-1]
    return lambda path: write_jpeg(path, pixels(bits), kind, bits=bits)


def cut_jpeg(path: Path) -> None:
    """A whole file about half a codestream."""
    file = dcmread(write_jpeg(path, pixels(8), "baseline", bits=8))
    file.PixelData = encapsulate([get_frame(file.PixelData, 0, number_of_frames=1)[:-400]])
    file.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)


def bomb(path: Path) -> None:
    """A deflated file that inflates to far more than any image."""
    write(
        path,
        np.zeros((2000, 2000), np.uint16),
        bits=12,
        syntax=DeflatedExplicitVRLittleEndian,
        Rows=60000,
        Columns=60000,
    )


def unknown_syntax(path: Path) -> None:
    write(path, pixels(12), bits=12)
    file = dcmread(path)
    file.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")  # MPEG-2
    file.PixelData = encapsulate([b"no video"])
    file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)


def two_frames(path: Path) -> None:
    write(path, np.concatenate([pixels(12)] * 2), bits=12, Rows=SHAPE[0], NumberOfFrames=2)


SEEN: dict[str, Callable[[Path], object]] = {
    "monochrome1": plain(PhotometricInterpretation="MONOCHROME1"),
    "monochrome1 with its presentation LUT": plain(
        PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
    ),
    "identity": plain(PresentationLUTShape="IDENTITY"),
    "voi lut": plain(VOILUTSequence=lut([0, 100, 255], 0, 8)),
    "several windows": plain(WindowCenter=[2000, 1000], WindowWidth=[1500, 100]),
    "sigmoid": plain(WindowCenter=2000, WindowWidth=900, VOILUTFunction="SIGMOID"),
    "exact": plain(WindowCenter=2000, WindowWidth=900, VOILUTFunction="LINEAR_EXACT"),
    "8 bits": plain(8),
    "10 bits": plain(10),
    "14 bits": plain(14),
    "16 bits": plain(16),
    "signed": plain(12, signed=True),
    "rescaled": plain(RescaleSlope=2, RescaleIntercept=-1000),
    "padded": plain(PixelPaddingValue=0, PixelPaddingRangeLimit=50),
    "implicit": plain(syntax=ImplicitVRLittleEndian),
    "big endian": plain(syntax=ExplicitVRBigEndian),
    "deflated": plain(syntax=DeflatedExplicitVRLittleEndian),
    "rle": plain(syntax=RLELossless),
    "jpeg 2000": plain(syntax=JPEG2000Lossless),
    "jpeg baseline": encoded("baseline"),
    "jpeg extended": encoded("extended"),
    "jpeg lossless": encoded("lossless"),
    "jpeg-ls": encoded("jpegls"),
    "jpeg-ls, nearly lossless": encoded("jpegls_near"),
    "one frame": plain(NumberOfFrames=1),
    "on its side": plain(PatientOrientation=["F", "R"]),
    "on its head": plain(PatientOrientation=["R", "H"]),
    "burnt in": plain(BurnedInAnnotation="YES"),
    "posterior": plain(ViewPosition="PA"),
}
REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "lateral by position": (plain(ViewPosition="LL"), "not_frontal", "not_frontal"),
    "lateral by orientation": (plain(PatientOrientation=["A", "F"]), "not_frontal", "not_frontal"),
    "contradictory": (plain(PatientOrientation=["F", "H"]), "orientation", "orientation"),
    "truncated": (cut, "unreadable_image", "truncated"),
    "truncated jpeg": (cut_jpeg, "unreadable_image", "truncated"),
    "no DICOM": (lambda path: path.write_bytes(b"no image" * 99), "unreadable_image", "not_dicom"),
    "empty": (lambda path: path.write_bytes(b""), "unreadable_image", "empty"),
    "a bomb": (bomb, "unreadable_image", "too_large"),
    "several frames": (two_frames, "unreadable_image", "multi_frame"),
    "colour": (plain(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "unreadable_image", "not_grey"),
    "no window": (plain(WindowCenter=5, WindowWidth=0), "unreadable_image", "bad_window"),
    "no rescale": (plain(RescaleSlope=0, RescaleIntercept=0), "unreadable_image", "bad_rescale"),
    "a video": (unknown_syntax, "unreadable_image", "no_decoder"),
    "size that is not so": (plain(Rows=44), "unreadable_image", "wrong_length"),
    "no pixels": (plain(Rows=None), "unreadable_image", "no_image"),
    "24 bits": (plain(BitsAllocated=24, BitsStored=24), "unreadable_image", "bad_bits"),
    "no file": (lambda path: None, "missing_image", "missing_image"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    rows = []
    makers = {**SEEN, **{name: make for name, (make, *_) in REFUSED.items()}}
    for k, (name, make) in enumerate(makers.items()):
        for i in range(EACH):
            file = f"{k:02}-{i}.dcm"
            make(folder / file)
            row = {"case": Path(file).stem, "image": file, "patient": f"{k}-{i}", "label": "ab"[i % 2]}
            rows.append({**row, "kind": name})
    pl.DataFrame(rows).write_csv(folder / "labels.csv")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_all_files_end_with_exact_counts_by_reason(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = pl.read_csv(folder / "labels.csv")
    assert table.height == EACH * (len(SEEN) + len(REFUSED)) >= 200
    out = tmp_path / "store"
    given = ["--table", str(folder / "labels.csv"), "--labels", "label", "--without-gaze", "keep"]
    assert main(["prepare", "table", *given, "--out", str(out), "--size", "32"]) == 0
    store = Store.open(out)
    assert store.cases.height == EACH * len(SEEN)
    assert Counter(store.rejections["reason"]) == {
        reason: EACH * count for reason, count in Counter(reason for _, reason, _ in REFUSED.values()).items()
    }
    kinds = dict(table.select(pl.col("image").str.replace(r"\.dcm$", ""), "kind").iter_rows())
    unreadable = store.rejections.filter(reason="unreadable_image")
    for case, detail in unreadable.select("case_id", "detail").iter_rows():
        assert detail == REFUSED[kinds[case.replace(".dcm", "")]][2], kinds[case.replace(".dcm", "")]
    assert verify(store) == []
    burned = {kinds[case.replace(".dcm", "")] for case in store.manifest["burned_in_annotation"]}
    assert burned == {"burnt in"}
    assert len(store.manifest["burned_in_annotation"]) == EACH
    sizes = dict(store.cases.select("case_id", "rows").iter_rows())
    turned = [rows for case, rows in sizes.items() if kinds[case.replace(".dcm", "")] == "on its side"]
    assert turned == [SHAPE[1]] * EACH  # 45 by 33 pixels that lay on their side
    text = json.dumps(store.manifest) + store.rejections.write_csv() + capfd.readouterr().err
    assert "SECRET" not in text.upper().replace(str(os.fspath(folder)).upper(), "")


def test_an_image_on_its_side_is_rejected_where_gaze_or_boxes_lie_on_it(tmp_path: Path) -> None:
    for name, orientation in (("a", ["L", "F"]), ("b", ["F", "R"]), ("c", ["F", "R"])):
        write(tmp_path / f"{name}.dcm", pixels(12), bits=12, PatientOrientation=orientation)
    (tmp_path / "labels.csv").write_text("case,image,patient,label\na,a.dcm,1,x\nb,b.dcm,2,y\nc,c.dcm,3,x\n")
    (tmp_path / "boxes.csv").write_text("image,x1,y1,x2,y2\na.dcm,1,1,9,9\nb.dcm,1,1,9,9\n")
    given = ["--table", str(tmp_path / "labels.csv"), "--boxes", str(tmp_path / "boxes.csv")]
    given += ["--without-gaze", "keep"]
    assert main(["prepare", "table", *given, "--out", str(tmp_path / "store"), "--size", "32"]) == 0
    store = Store.open(tmp_path / "store")
    assert len(store.cases) == 2
    (rejected,) = store.rejections.rows(named=True)
    assert (rejected["reason"], rejected["case_id"][0]) == ("orientation", "b")
