"""The worker beside a PACS: each image once, whatever happens, and nothing about a patient in its words."""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from radgaze.clinic.worker import paging, patience, serving, steps
from radgaze.clinic.worker.making import Made, Maker
from radgaze.clinic.worker.options import WorkerOptions
from radgaze.clinic.worker.running import run_worker
from radgaze.clinic.worker.tally import Tally
from radgaze.dicom.error import DicomError
from radgaze.errors import Stopped, UserError
from tests.clinic.fake_pacs import FakePacs, Fault, made_by, maker, objects_of, radiograph, result, served

HIDDEN = ("Secretname", "s3cretnumber", "secretaccession", "19450508")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds."""
    monkeypatch.setattr(patience, "FIRST", 0.01)
    monkeypatch.setattr(patience, "LONGEST", 0.02)


@pytest.fixture
def pacs() -> Iterator[FakePacs]:
    with served(FakePacs()) as made:
        yield made


class Work:
    """Call the worker on a PACS; collects its lines."""

    def __init__(self, pacs: FakePacs, folder: Path) -> None:
        self.pacs, self.journal, self.lines, self.predicted = (
            pacs,
            folder / "journal.sqlite",
            [""][:0],
            [""][:0],
        )

    def __call__(self, made: Maker | None = None, **options: Any) -> Tally:
        chosen = WorkerOptions(dicomweb=self.pacs.url, **{"journal": self.journal, **options})
        return run_worker(
            lambda: made or maker(self.predicted),
            chosen,
            tell_study=self.lines.append,
            tell_file=lambda *_: None,
        )


@pytest.fixture
def work(pacs: FakePacs, tmp_path: Path) -> Work:
    return Work(pacs, tmp_path)


def complete(pacs: FakePacs, images: int = 1) -> bool:
    """Whether each study has one SR, SEG and SC for each of its images, each sent once."""
    once = all(number == 1 for number in pacs.stows.values())
    counted = pacs.results()
    return once and all(
        counted[study, modality] == images for study in pacs.studies() for modality in ("SR", "SEG", "OT")
    )


def test_each_image_gets_its_objects_in_its_study_once(pacs: FakePacs, work: Work) -> None:
    for k in range(5):
        pacs.add(radiograph(f"study {k}"))
    pacs.add(
        radiograph("study 0", "a second image", SOPClassUID=ComputedRadiographyImageStorage, Modality="CR")
    )
    tally = work()
    assert (tally.stored, tally.objects) == (6, 18)
    counted = pacs.results()
    assert sorted(counted[study, "SR"] for study in pacs.studies()) == [1, 1, 1, 1, 2]
    assert set(pacs.stows.values()) == {1}
    again = work()
    assert (again.stored, again.objects, len(work.predicted)) == (0, 0, 6)
    assert set(pacs.stows.values()) == {1}


def test_results_and_other_images_are_passed_over_without_being_fetched(pacs: FakePacs, work: Work) -> None:
    image = radiograph("a study")
    for each in (
        result(image, "sc"),
        radiograph("a study", "scan", SOPClassUID=SecondaryCaptureImageStorage),
        radiograph("a study", "CT", SOPClassUID=CTImageStorage, Modality="CT"),
        radiograph("a study", "raw", SOPClassUID=DigitalXRayImageStorageForProcessing),
    ):
        pacs.add(each)
    assert work().stored == 0
    assert not any("/series/" in request for request in pacs.requests)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ViewPosition": "LL"}, "not_frontal: the header says that it is a lateral view"),
        ({"PatientOrientation": ["A", "F"]}, "not_frontal"),
        ({"BodyPartExamined": "KNEE"}, "not_chest: the header states another part of the body"),
        ({"BodyPartExamined": ""}, "not_chest: the header does not state the part of the body"),
        ({"ManufacturerModelName": "radgaze"}, "own_result: this is a result of radgaze, not an image"),
    ],
)
def test_an_image_that_is_refused_is_not_fetched_again(
    changes: dict[str, Any], reason: str, pacs: FakePacs, work: Work
) -> None:
    pacs.add(radiograph("a study", **changes))
    assert work().refused == 1
    assert reason in work.lines[0]
    fetched = [request for request in pacs.requests if "/series/" in request]
    assert (work().refused, work.predicted) == (0, [])
    assert [request for request in pacs.requests if "/series/" in request] == fetched
    assert work(retry=True).refused == 1


def test_days_are_counted_by_the_clock_on_the_wall_as_study_dates_are(
    pacs: FakePacs, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen(datetime):
        """18:00 on the 10th of March eight hours west of Greenwich, where it is the 11th."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(datetime(2025, 3, 11, 2, tzinfo=UTC).timestamp(), tz)

    for day in ("20250309", "20250310"):
        pacs.add(radiograph(f"study of {day}", StudyDate=day))
    monkeypatch.setattr("radgaze.clinic.worker.pacs.datetime", Frozen)
    monkeypatch.setenv("TZ", "PST8")
    time.tzset()
    try:
        assert work(days=0).stored == 1
        assert work(days=1).stored == 1
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_part_of_the_body_is_taken_from_the_description_or_assumed_if_asked(
    pacs: FakePacs, work: Work
) -> None:
    pacs.add(radiograph("named", BodyPartExamined="", StudyDescription="CHEST (PA AND LAT)"))
    pacs.add(radiograph("thorax", BodyPartExamined="THORAX"))
    assert work().stored == 2
    pacs.add(radiograph("unnamed", BodyPartExamined=""))
    pacs.add(radiograph("knee", BodyPartExamined="KNEE"))
    assert (work(assume_chest=True).stored, work().stored) == (1, 0)


def test_an_image_that_the_maker_cannot_read_is_refused_and_one_that_crashed_tried_again(
    pacs: FakePacs, work: Work
) -> None:
    pacs.add(radiograph("a study"))

    def failing(reason: str) -> Maker:
        def make(path: Path) -> list[Any]:
            raise DicomError(reason, "made so")

        return made_by(make)

    assert work(failing("crashed")).failed == 1
    assert work(failing("timeout")).failed == 1
    assert work(failing("truncated")).refused == 1
    assert work().stored == 0
    outcomes = [line.partition(": ")[2].partition(" (")[0] for line in work.lines]
    assert outcomes == ["1 failed", "1 failed", "1 refused"]
    assert work(retry=True).stored == 1


def test_an_image_is_given_up_after_so_many_attempts(pacs: FakePacs, work: Work) -> None:
    pacs.add(radiograph("a study"))
    pacs.faults = [Fault("status", "POST /studies", times=1000, status=500)]
    for attempt in (1, 2):
        assert work(attempts=3).failed == 1
        assert f"the PACS answers with 500 Internal Server Error; attempt {attempt} of 3" in work.lines[-1]
    work(attempts=3)
    assert "given up after 3 attempts" in work.lines[-1]
    pacs.faults = []
    later = work(attempts=3)
    assert (later.failed, later.given_up) == (0, 1)
    assert "1 given up" in later.in_words()
    again = work(attempts=3, retry=True)
    assert (again.stored, again.given_up) == (1, 0)


FAULTS = {
    "503 on a search": [Fault("status", "GET /studies")],
    "503 with Retry-After": [Fault("status", "GET /studies", headers={"Retry-After": "0"})],
    "503 on everything": [Fault("status", times=7)],
    "429": [Fault("status", "POST", status=429, headers={"Retry-After": "0"})],
    "500 on the image": [Fault("status", "GET /studies/", 2, status=500)],
    "500 on the store": [Fault("status", "POST", 2, status=500)],
    "reset on a search": [Fault("reset", "GET /studies")],
    "reset on the image": [Fault("reset", "GET /studies/", 2)],
    "reset before the store": [Fault("reset", "POST")],
    "reset after the store": [Fault("after", "stow")],
    "reset after the store, twice": [Fault("after", "stow", 2)],
    "not all stored": [Fault("partial", "stow")],
    "a cut image": [Fault("cut", "GET /studies/1.2.826.0.1.3680043.8.498")],
    "slow": [Fault("slow", "GET /studies")],
    "a page of a proxy": [Fault("nonsense", "GET /studies", 1)],
    "a page of a proxy in place of the answer to a store": [Fault("nonsense", "POST", 1)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_that_passes_each_image_has_its_objects_once(
    name: str, pacs: FakePacs, work: Work
) -> None:
    for k in range(3):
        pacs.add(radiograph(f"study {k}"))
    pacs.faults = [Fault(each.kind, each.on, each.times, each.status, each.headers) for each in FAULTS[name]]
    if name == "a cut image":
        pacs.faults[0].on = f"GET /studies/{pacs.studies()[1]}/series/"
    if name == "a page of a proxy":  # the first answer says whether this is a PACS at all
        pacs.faults[0].on = f"GET /studies/{pacs.studies()[1]}/instances"
    tally = work()
    assert (tally.stored, tally.failed) == (3, 0)
    assert complete(pacs)
    assert all(fault.times == 0 for fault in pacs.faults)


def test_pages_of_any_kind_lose_and_repeat_nothing(pacs: FakePacs, work: Work) -> None:
    for k in range(7):
        pacs.add(radiograph(f"study {k}"))
    pacs.most, pacs.repeats = 2, True
    assert work().stored == 7
    assert complete(pacs)


def test_a_pacs_that_does_not_say_what_it_stored_is_searched(pacs: FakePacs, work: Work) -> None:
    pacs.add(radiograph("a study"))
    pacs.confirms = False
    assert work().stored == 1
    assert complete(pacs)


@pytest.mark.parametrize("studies", [0, 3, 4, 5, 9, 12])
@pytest.mark.parametrize("fault", ["knows_offsets", "limits_first", "none"])
def test_pages_of_a_server_that_treats_offsets_in_its_own_way_lose_nothing(
    fault: str, studies: int, pacs: FakePacs, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE", 4)
    for k in range(studies):
        pacs.add(radiograph(f"study {k}"))
    pacs.knows_offsets, pacs.limits_first = fault != "knows_offsets", fault == "limits_first"
    assert work().stored == studies
    assert complete(pacs)


def test_a_pacs_that_sorts_studies_by_their_last_change_is_searched_until_nothing_is_new(
    pacs: FakePacs, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE", 4)
    for k in range(13):
        pacs.add(radiograph(f"study {k}"))
    pacs.add(radiograph("lateral", ViewPosition="LL"))
    pacs.sorts_by_change = True
    tally = work()
    assert (tally.stored, tally.refused, tally.failed) == (13, 1, 0)
    assert set(pacs.stows.values()) == {1}


def test_with_a_lost_journal_nothing_is_predicted_or_stored_again(pacs: FakePacs, work: Work) -> None:
    for k in range(3):
        pacs.add(radiograph(f"study {k}"))
    work()
    work.journal.unlink()
    work.predicted.clear()
    tally = work()
    assert (tally.before, tally.stored, work.predicted) == (3, 0, [])
    assert complete(pacs)


def test_of_an_image_with_some_of_its_objects_the_others_are_stored(pacs: FakePacs, work: Work) -> None:
    image = radiograph("a study")
    pacs.add(image)
    pacs.add(result(image, "seg"))
    assert work().stored == 1
    assert pacs.results()[str(image.StudyInstanceUID), "SEG"] == 1
    assert set(pacs.stows.values()) == {1}
    assert len(pacs.stows) == 2


def test_other_weights_predict_the_images_again(pacs: FakePacs, work: Work) -> None:
    pacs.add(radiograph("a study"))
    work()
    assert work(maker(work.predicted, name="weights-2")).stored == 1
    assert len(work.predicted) == 2
    assert complete(pacs, images=2)


def test_a_pacs_that_stays_away_is_an_error_after_the_patience(
    pacs: FakePacs, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    pacs.add(radiograph("a study"))
    pacs.faults = [Fault("status", times=10**6)]
    with pytest.raises(
        UserError, match=r"the PACS is away \(503 Service Unavailable\) and did not come back"
    ):
        work(patience=0.05)
    assert "the PACS is away (503 Service Unavailable); another attempt in 0.0 s" in caplog.text
    pacs.faults = []
    assert work().stored == 1


def test_no_server_at_all_is_an_error_after_the_patience(work: Work) -> None:
    work.pacs = FakePacs()
    work.pacs.url = "http://127.0.0.1:9"
    with pytest.raises(UserError, match=r"the PACS is away \(no connection\)"):
        work(patience=0.05)


def test_an_address_of_something_else_is_told_at_once(pacs: FakePacs, work: Work) -> None:
    pacs.url += "/dicom"
    with pytest.raises(UserError, match="404 Not Found; is it the address of a DICOMweb service"):
        work()


def test_a_redirection_is_not_followed(pacs: FakePacs, work: Work) -> None:
    pacs.faults = [Fault("status", times=100, status=302, headers={"Location": pacs.url + "/elsewhere"})]
    with pytest.raises(UserError, match="redirects to another address"):
        work()


def test_ctrl_c_tells_what_is_done_and_the_same_command_goes_on(pacs: FakePacs, work: Work) -> None:
    for k in range(3):
        pacs.add(radiograph(f"study {k}"))

    def make(path: Path) -> list[Made]:
        if len(work.predicted) == 2:
            raise KeyboardInterrupt
        return objects_of(path, work.predicted)

    with pytest.raises(Stopped, match="2 images predicted, 6 objects stored"):
        work(made_by(make))
    assert work().stored == 1
    assert complete(pacs)


def test_a_watching_worker_finds_what_comes_later_and_asks_little(
    pacs: FakePacs, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs.add(radiograph("study 0"))
    asked = []

    def looked(seconds: float) -> None:
        asked.append(len([request for request in pacs.requests if request.endswith("/instances")]))
        if len(asked) == 3:
            pacs.add(radiograph("study 1"))
        if len(asked) == 5:
            pacs.add(radiograph("study 0", "late"))
        if len(asked) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr("radgaze.clinic.worker.running.time.sleep", looked)
    with pytest.raises(Stopped):
        work(watch=True)
    assert len(work.predicted) == 3
    assert asked[2] == asked[1]  # the study was complete, with as many instances
    assert asked[-1] == asked[-2]
    assert set(pacs.stows.values()) == {1}


def test_a_watching_worker_tries_a_failed_image_later(
    pacs: FakePacs, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs.add(radiograph("a study"))
    pacs.faults = [Fault("status", "POST", serving.TRIES, 500)]
    now = [1000.0]
    monkeypatch.setattr("radgaze.clinic.worker.steps.time.time", lambda: now[0])
    stored = []

    def looked(seconds: float) -> None:
        stored.append(len(pacs.stows))
        now[0] += seconds
        if len(stored) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("radgaze.clinic.worker.running.time.sleep", looked)
    with pytest.raises(Stopped):
        work(watch=True, interval=25)
    assert stored == [0, 0, 0, 3, 3]  # 60 s after the failure


def test_an_image_that_kills_its_process_is_given_up(pacs: FakePacs, work: Work) -> None:
    pacs.add(radiograph("a study"))

    def killed(path: Path) -> Any:
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radgaze.clinic.worker.journal.Journal.release", lambda *_: None)  # as after a kill
        for _ in range(steps.INTERRUPTIONS):
            with pytest.raises(SystemExit):
                work(made_by(killed))
    assert work().stored == 0
    assert work(retry=True).stored == 1


def test_two_workers_do_not_share_a_journal(pacs: FakePacs, work: Work) -> None:
    pacs.add(radiograph("a study"))

    def make(path: Path) -> Any:
        with pytest.raises(UserError, match="another worker uses the journal"):
            work()
        return objects_of(path)

    assert work(made_by(make)).stored == 1


def test_log_and_journal_hold_no_word_about_a_patient_and_no_uid(
    pacs: FakePacs, work: Work, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    images = [radiograph("study 0"), radiograph("study 1", ViewPosition="LL"), radiograph("study 2")]
    for each in images:
        pacs.add(each)
    pacs.faults = [
        Fault("status", "POST", 3, 500),
        Fault("reset", f"GET /studies/{images[2].StudyInstanceUID}/series"),
        Fault("after", "stow"),
    ]
    work()
    assert work.lines
    said = "\n".join([*work.lines, caplog.text, *capfd.readouterr()])
    uids = [str(each[name].value) for each in images for name in ("StudyInstanceUID", "SOPInstanceUID")]
    kept = b"".join(path.read_bytes() for path in work.journal.parent.iterdir())
    for hidden in (*HIDDEN, *uids):
        assert hidden not in said
        assert hidden.encode() not in kept
    assert stat.S_IMODE(work.journal.stat().st_mode) == 0o600
    assert sorted(path.name for path in work.journal.parent.iterdir()) == [
        "journal.sqlite",
        "journal.sqlite.lock",
    ]


def test_a_journal_that_others_may_read_becomes_its_owners_alone(pacs: FakePacs, work: Work) -> None:
    work()
    work.journal.chmod(0o644)
    pacs.add(radiograph("a study"))

    def make(path: Path) -> list[Made]:
        files = [work.journal, work.journal.with_name("journal.sqlite-wal")]
        assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
        return objects_of(path, work.predicted)

    assert work(made_by(make)).stored == 1


def test_a_file_that_is_no_journal_is_told(pacs: FakePacs, work: Work) -> None:
    work.journal.write_text("years of work" * 100)
    with pytest.raises(UserError, match="is no journal of a worker, or damaged"):
        work()
    assert work.journal.read_text() == "years of work" * 100


def test_the_database_of_another_program_is_refused_without_a_change(pacs: FakePacs, work: Work) -> None:
    database = sqlite3.connect(work.journal)
    database.execute("CREATE TABLE mine (a)")
    database.close()
    work.journal.chmod(0o644)
    before = work.journal.read_bytes()
    with pytest.raises(UserError, match="is no journal of a worker, or damaged"):
        work()
    assert (work.journal.read_bytes(), stat.S_IMODE(work.journal.stat().st_mode)) == (before, 0o644)


def test_what_the_pacs_sends_is_the_image_that_was_asked_for(pacs: FakePacs, work: Work) -> None:
    pacs.add(radiograph("a study"))
    pacs.files[pacs.order[0]] = pacs.files[pacs.order[0]].replace(b"1.2.826", b"1.2.827")
    assert work().failed == 1
    assert "the PACS sent another image" in work.lines[0]
    assert not pacs.stows


def test_an_image_whose_uid_cannot_be_parsed_is_refused_without_a_word_of_it(
    pacs: FakePacs, work: Work
) -> None:
    for k in range(2):
        pacs.add(radiograph(f"study {k}"))
    uid, tag = pacs.order[0], Tag("SOPInstanceUID")
    damaged = dcmread(BytesIO(pacs.files[uid]))
    damaged[tag] = RawDataElement(tag, "UL", 3, b"1.2", 0, False, True)
    content = BytesIO()
    damaged.save_as(content)
    pacs.files[uid] = content.getvalue()
    tally = work()
    assert (tally.stored, tally.refused) == (1, 1)
    refused = "1 refused (broken: the file is damaged, or not as its format says (BytesLengthException))"
    assert work.lines[0].endswith(refused)
