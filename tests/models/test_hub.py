"""A hub that has no address is not asked again and again."""

from __future__ import annotations

import socket

import pytest
from huggingface_hub import is_offline_mode

from radgaze.errors import UserError
from radgaze.models.architectures import create
from radgaze.models.config import ModelConfig
from radgaze.models.hub import cached_if_unreachable


def no_address(*_: object) -> object:
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize(
    ("proxies", "address", "offline"),
    [
        ({}, no_address, True),
        ({"https": "http://proxy:3128"}, no_address, False),
        ({}, lambda *_: [], False),
    ],
)
def test_it_is_offline_only_where_its_host_has_no_address_and_no_proxy_looks_it_up(
    proxies: dict[str, str], address: object, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radgaze.models.hub.getproxies", lambda: proxies)
    monkeypatch.setattr("radgaze.models.hub.socket.getaddrinfo", address)
    before = is_offline_mode()
    with cached_if_unreachable():
        assert is_offline_mode() is (before or offline)
    assert is_offline_mode() is before


def test_weights_that_cannot_be_fetched_are_told_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radgaze.models.hub.getproxies", dict)
    monkeypatch.setattr("radgaze.models.hub.socket.getaddrinfo", no_address)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits, to try again"))
    monkeypatch.setenv("HF_HUB_CACHE", "nowhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "nowhere")
    with pytest.raises(UserError, match=r"resnet18 could not be downloaded.*start from random ones"):
        create(ModelConfig(architecture="classifier", encoder="resnet18", weights="imagenet"), 2)
