"""Cards made up for tests."""

from __future__ import annotations

import hashlib

from matcard.data.card import Card, Download

BODY = bytes(range(256)) * 40
LONG = BODY * 20


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def md5(body):
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def make_card(*downloads, name="some_set", kind="crystals", format="table", target="gap", **more):
    return Card(
        name=name,
        title="A data set",
        kind=kind,
        description="What it is.",
        citation="Somebody, 2020.",
        licence="CC-BY-4.0",
        urls=tuple(downloads),
        format=format,
        target=target,
        class_counts=more.pop("class_counts", None),
        known_problems=(),
        **more,
    )


def download_of(url, body=BODY, **more):
    return Download(url, **{"size": len(body), "sha256": sha256(body), **more})
