"""Gaze maps computed from fixations on demand, on any device and at any size."""

from radgaze.gaze.boxes import box_maps
from radgaze.gaze.frames import Frames
from radgaze.gaze.maps import (
    Normalise,
    frames_of_seconds,
    mirrors_for,
    normalised,
    one_frame_per_fixation,
    static_maps,
    temporal_maps,
)
from radgaze.gaze.reference import reference_frames, reference_map, reference_points, viridis_grey
from radgaze.gaze.spec import GazeMaps, Geometry

__all__ = [
    "Frames",
    "GazeMaps",
    "Geometry",
    "Normalise",
    "box_maps",
    "frames_of_seconds",
    "mirrors_for",
    "normalised",
    "one_frame_per_fixation",
    "reference_frames",
    "reference_map",
    "reference_points",
    "static_maps",
    "temporal_maps",
    "viridis_grey",
]
