"""The worker between two folders: each image once, in a folder whose name does not identify a patient."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from radgaze.clinic.worker import folders
from radgaze.clinic.worker.making import Made, Maker
from radgaze.clinic.worker.options import WorkerOptions
from radgaze.clinic.worker.running import run_worker
from radgaze.clinic.worker.steps import Outcome
from radgaze.clinic.worker.tally import Tally
from radgaze.dicom.error import DicomError
from radgaze.errors import Stopped, UserError
from tests.clinic.fake_pacs import CLASS_OF, maker, radiograph, uid_of


class Work:
    """Call the worker on a folder; collects what it tells."""

    def __init__(self, folder: Path) -> None:
        self.images, self.out = folder / "in", folder / "out"
        self.images.mkdir()
        self.told: list[tuple[str, str, Outcome]] = []

    def add(self, file: str, study: str, name: str = "image", **changes: Any) -> Path:
        path = self.images / file
        path.parent.mkdir(parents=True, exist_ok=True)
        radiograph(study, name, **changes).save_as(path, enforce_file_format=True)
        return path

    def __call__(self, made: Maker | None = None, **options: Any) -> Tally:
        self.told.clear()
        return run_worker(
            lambda: made or maker(),
            WorkerOptions(folder=self.images, out=self.out, **options),
            tell_study=lambda _: None,
            tell_file=lambda path, place, outcome: self.told.append((path.name, place, outcome)),
        )


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def test_each_file_gets_a_folder_with_its_objects_once(work: Work) -> None:
    work.add("Secretname/a.dcm", "a")
    work.add("Secretname/lateral.dcm", "a", name="lateral", ViewPosition="LL")
    work.add("b.dcm", "b")
    work.add(".hidden.dcm", "c")
    (work.images / "notes.txt").write_text("no image")
    tally = work()
    assert (tally.stored, tally.refused) == (2, 2)
    words = {name: (outcome.word, outcome.reason.partition(":")[0]) for name, _, outcome in work.told}
    assert words == {
        "a.dcm": ("stored", ""),
        "b.dcm": ("stored", ""),
        "lateral.dcm": ("refused", "not_frontal"),
        "notes.txt": ("refused", "not_dicom"),
    }
    places = {name: place for name, place, outcome in work.told if outcome.word == "stored"}
    for name, study in (("a.dcm", "a"), ("b.dcm", "b")):
        objects = {path.stem: dcmread(path) for path in (work.out / places[name]).iterdir()}
        image = str(radiograph(study).SOPInstanceUID)
        assert {kind: each.SOPInstanceUID for kind, each in objects.items()} == {
            kind: uid_of(image, kind, "weights-1") for kind in CLASS_OF
        }
    assert not any("Secretname" in str(path.relative_to(work.out)) for path in work.out.rglob("*"))
    assert work().objects == 0
    assert work.told == []


def test_the_folder_of_the_journal_is_made(work: Work, tmp_path: Path) -> None:
    work.add("a.dcm", "a")
    assert work(journal=tmp_path / "new" / "deep" / "journal.sqlite").stored == 1


def test_the_same_content_is_predicted_once_and_with_other_weights_again(work: Work) -> None:
    shutil.copy(work.add("a.dcm", "a"), work.images / "copy.dcm")
    assert (work().stored, [outcome.word for *_, outcome in work.told]) == (1, ["stored", "before"])
    assert work(maker(name="weights-2")).stored == 1
    assert len([path for path in work.out.iterdir() if path.is_dir()]) == 2
    (work.out / "radgaze-worker.sqlite").unlink()
    assert (work().stored, {outcome.word for *_, outcome in work.told}) == (0, {"before"})


def test_a_watching_worker_waits_until_a_file_is_complete(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = work.add("a.dcm", "a").read_bytes()
    (work.images / "a.dcm").write_bytes(whole[:-30])
    now, seen = [time.time()], list[int]()

    def looked(seconds: float) -> None:
        now[0] += seconds
        seen.append(len(work.told))
        if len(seen) == 1:
            (work.images / "a.dcm").write_bytes(whole)
            os.utime(work.images / "a.dcm", (now[0], now[0]))
        if len(seen) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("radgaze.clinic.worker.running.time.sleep", looked)
    monkeypatch.setattr("radgaze.clinic.worker.folders.time.time", lambda: now[0])
    with pytest.raises(Stopped, match="1 image predicted, 3 objects stored"):
        work(watch=True, interval=folders.QUIET / 2 + 0.1)
    assert seen == [0, 0, 0, 1]  # not before it was quiet for two seconds


def test_a_file_that_is_replaced_while_it_is_read_has_no_results_under_the_first_one_s_name(
    work: Work,
) -> None:
    first, second = work.add("a.dcm", "a").read_bytes(), work.add("b.dcm", "b").read_bytes()
    (work.images / "b.dcm").unlink()
    usual = maker()

    def replaced(paths: Iterator[Path]) -> Generator[Sequence[Made] | DicomError, None, None]:
        for path in paths:
            path.write_bytes(second)
            yield from usual.stream(iter([path]))

    tally = work(replace(usual, stream=replaced))
    assert (tally.stored, tally.failed) == (0, 1)
    assert [place for _, place, _ in work.told] == [""]
    assert not list(work.out.glob("*/*.dcm"))
    (work.images / "c.dcm").write_bytes(first)
    assert work().stored == 2
    for name, place, _ in work.told:
        study = {"a.dcm": "b", "c.dcm": "a"}[name]
        image = str(radiograph(study).SOPInstanceUID)
        found = {dcmread(path).SOPInstanceUID for path in (work.out / place).iterdir()}
        assert found == {uid_of(image, kind, "weights-1") for kind in CLASS_OF}


def test_a_watching_worker_reads_a_file_whose_date_lies_in_the_future(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 3600
    os.utime(work.add("a.dcm", "a"), (later, later))

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radgaze.clinic.worker.running.time.sleep", stop)
    with pytest.raises(Stopped, match="1 image predicted"):
        work(watch=True)


def test_results_in_a_folder_among_the_images_are_not_answered_to(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.out = work.images / "results"
    work.add("a.dcm", "a")
    assert (work().stored, work().stored) == (1, 0)
    shutil.copytree(work.out, work.images / "copied")
    assert work().stored == 0
    reasons = {outcome.reason.partition(":")[0] for *_, outcome in work.told}
    assert reasons == {"not_radiograph", "not_dicom", "empty"}  # the last two of the copied journal


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "name a PACS with `dicomweb`, or a folder"),
        ({"dicomweb": "http://pacs.example", "folder": Path()}, "name a PACS with `dicomweb`, or a folder"),
        ({"folder": Path()}, "`folder` needs `out`"),
        ({"dicomweb": "http://pacs.example", "out": Path()}, "`out` goes with `folder`"),
        ({"folder": Path(), "out": Path(), "days": 1}, "`days` goes with `dicomweb`"),
        ({"dicomweb": "http://pacs.example", "objects": ()}, "`objects` must name at least one"),
        ({"dicomweb": "http://pacs.example", "objects": ("sr", "pdf")}, "`objects` must be one of"),
    ],
)
def test_options_that_do_not_go_together_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        WorkerOptions(**options)


def test_a_header_that_is_damaged_or_huge_leaves_no_value_in_the_log(
    work: Work, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    damaged = work.add("damaged.dcm", "a")
    odd = dcmread(damaged)
    tag = Tag("SpecificCharacterSet")
    odd[tag] = RawDataElement(tag, "CS", 16, b"ISO_IR DOE^JOHN ", 0, False, True)
    odd.save_as(damaged)
    huge = work.add("huge.dcm", "b")
    large = dcmread(huge)
    tag = Tag("ViewPosition")
    large[tag] = RawDataElement(tag, "UT", 2**21, b"1\\" * 2**20, 0, False, True)
    large.save_as(huge)
    recwarn.clear()
    caplog.clear()
    work()
    said = {name: outcome.reason for name, _, outcome in work.told}
    assert said["huge.dcm"].startswith("too_large: the file's ViewPosition")
    words = [str(each.message) for each in recwarn] + [each.getMessage() for each in caplog.records]
    assert not any("DOE" in each for each in (*words, *said.values()))


@pytest.mark.parametrize("keyword", ["ManufacturerModelName", "SOPClassUID", "BodyPartExamined"])
def test_an_element_that_cannot_be_parsed_ends_its_file_alone(keyword: str, work: Work) -> None:
    damaged, tag = work.add("a.dcm", "a"), Tag(keyword)
    odd = dcmread(damaged)
    odd[tag] = RawDataElement(tag, "FD", 3, b"DOE", 0, False, True)
    odd.save_as(damaged)
    work.add("b.dcm", "b")
    assert (work().stored, len(work.told)) == (1, 2)
    (name, _, refused), _ = work.told
    assert (name, refused.word, refused.reason.partition(":")[0]) == ("a.dcm", "refused", "broken")
    assert "DOE" not in refused.reason


def test_a_file_whose_name_is_not_utf_8_is_served_as_any_other(work: Work) -> None:
    work.add(os.fsdecode(b"M\xfcller.dcm"), "a")
    work.add("z.dcm", "b")
    assert (work().stored, len(work.told)) == (2, 2)
    assert work().stored == 0
