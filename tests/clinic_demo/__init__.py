"""Tests of `tools/clinic`: the demo with Orthanc and OHIF."""
