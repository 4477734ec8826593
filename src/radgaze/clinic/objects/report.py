"""The structured report of a prediction: Comprehensive 3D SR, template TID 1500."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from radgaze.clinic.objects import codes
from radgaze.clinic.objects.codes import Term, meaning, term_of
from radgaze.clinic.objects.reading import Reading
from radgaze.clinic.objects.result import RESEARCH_USE, Result, common, decision_in_words, finished

if TYPE_CHECKING:
    from highdicom import sr


def report(reading: Reading) -> Result:
    """Make the report: the whole image with decision and use, then a group for each class."""
    from highdicom import sr

    groups = [_whole(reading), *(_of_class(reading, name) for name in reading.probabilities)]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(reading)),
        procedure_reported=_coded(codes.PROCEDURE),
        imaging_measurements=groups,
        title=_coded(codes.TITLE),
    )
    document = sr.Comprehensive3DSR(
        evidence=[reading.source.header],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **common(reading, "sr"),
    )
    return finished(document, reading, "sr")


def _whole(reading: Reading) -> sr.MeasurementsAndQualitativeEvaluations:
    decision = reading.decision
    term = codes.UNDECIDED if decision is None else codes.ACCEPT if decision.accept else codes.REFER
    evaluations = [
        (codes.DECISION, term),
        (codes.CALIBRATION, _calibration(reading)),
        (codes.USE, codes.RESEARCH),
    ]
    group = _group(reading, "model", codes.OUTPUT, evaluations=evaluations)
    _add_text(group, codes.REASON, decision_in_words(reading))
    predicted = ", ".join(reading.predicted) or "none"
    _add_text(group, codes.COMMENT, f"{RESEARCH_USE}. Predicted: {predicted}.")
    return group


def _of_class(reading: Reading, name: str) -> sr.MeasurementsAndQualitativeEvaluations:
    numbers = [(codes.PROBABILITY, reading.probabilities[name])]
    if reading.calibrated is not None:
        numbers.append((codes.CALIBRATED, reading.calibrated[name]))
    predicted = codes.YES if name in reading.predicted else codes.NO
    group = _group(reading, f"class {meaning(name)}", term_of(name), numbers, [(codes.PREDICTED, predicted)])
    _add_text(group, codes.COMMENT, f"Class of the model: {meaning(name)}")
    return group


def _group(
    reading: Reading,
    part: str,
    finding: Term,
    numbers: Sequence[tuple[Term, float]] = (),
    evaluations: Sequence[tuple[Term, Term]] = (),
) -> sr.MeasurementsAndQualitativeEvaluations:
    from highdicom import sr

    header = reading.source.header
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            identifier=f"radgaze {part}", uid=reading.uids(f"tracking {part}", "sr")
        ),
        finding_type=_coded(finding),
        finding_sites=[sr.FindingSite(_coded(codes.CHEST))],
        algorithm_id=_algorithm(reading),
        measurements=[
            sr.Measurement(name=_coded(name), value=round(value, 6), unit=_coded(codes.NO_UNITS))
            for name, value in numbers
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=_coded(name), value=_coded(value)) for name, value in evaluations
        ],
        source_images=[sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )


def _algorithm(reading: Reading) -> sr.AlgorithmIdentification:
    from highdicom import sr

    return sr.AlgorithmIdentification(
        name="radgaze",
        version=reading.model.version,
        parameters=[
            f"weights SHA-256 {reading.model.weights}",
            f"experiment {reading.model.experiment}",
            *([] if reading.model.temperature is None else [f"temperature {reading.model.temperature:.4g}"]),
        ],
        family=_coded(codes.FAMILY),
    )


def _observer(reading: Reading) -> sr.ObserverContext:
    from highdicom import sr
    from pydicom.sr.codedict import codes as standard

    return sr.ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=reading.uids("device", "sr"),
            name="radgaze",
            manufacturer_name="radgaze",
            model_name="radgaze",
            serial_number=reading.model.weights[:16],
        ),
    )


def _calibration(reading: Reading) -> Term:
    return codes.UNCALIBRATED if reading.calibrated is None else codes.TEMPERATURE


def _add_text(group: sr.MeasurementsAndQualitativeEvaluations, name: Term, text: str) -> None:
    from highdicom import sr

    item = sr.TextContentItem(
        name=_coded(name), value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    group[0].ContentSequence.append(item)


def _coded(term: Term) -> sr.CodedConcept:
    from highdicom import sr

    return sr.CodedConcept(value=term.value, scheme_designator=term.scheme, meaning=term.meaning)
