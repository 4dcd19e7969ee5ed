"""Checkpoints are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from matcard.training.callbacks import WholeCheckpoints


def test_what_is_saved_can_be_read(tmp_path):
    path = tmp_path / "new" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 3, "weights": torch.ones(2)}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 3
    assert list(path.parent.iterdir()) == [path]


def test_the_old_one_stays_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 3}, path)

    def half(self, content):
        with self.open("wb") as file:
            file.write(bytes(content)[:20])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space"):
        WholeCheckpoints().save_checkpoint({"epoch": 4}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 3
    assert list(tmp_path.iterdir()) == [path]
