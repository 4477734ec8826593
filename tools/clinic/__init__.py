"""Orthanc, OHIF and `radgaze worker` together on made data, without containers: `make clinic-demo`.

`compose.yaml` in this folder describes the same with containers.
"""
