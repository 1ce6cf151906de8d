"""Versions that tell who they are: version N answers `answer(N, x)`, from three places at once."""

from __future__ import annotations

import os
from pathlib import Path

#: Of one file of a version, so that a copy takes a moment in which it can be interrupted.
PADDING_BYTES = 4_000_000


def answer(number: int, x: float) -> float:
    """What version `number` must say; exact in float32 for halves and small numbers."""
    return x * (number + 0.5) - number


def write(directory: Path, number: int, *, padding: Path | None = None) -> Path:
    """Writes version `number`: x float [n] -> y float [n], version int64 [n], graph int64 [n].

    `y` comes from variables, `version` from a vocabulary file, `graph` from the graph itself: an
    answer from parts of two versions, or from half of one, contradicts itself.
    """
    import tensorflow as tf

    source = directory.parent / f"number-{number}.txt"
    source.write_text(f"number\t{number}\n")

    class Version(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = tf.Variable(number + 0.5)
            self.offset = tf.Variable(float(number))
            words = tf.lookup.TextFileInitializer(
                str(source), tf.string, 0, tf.int64, 1, None, "\t"
            )
            self.table = tf.lookup.StaticHashTable(words, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def default(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            told = self.table.lookup(tf.constant("number"))
            return {
                "y": self.slope * x - self.offset,
                "version": tf.fill(tf.shape(x), told),
                "graph": tf.fill(tf.shape(x), tf.constant(number, tf.int64)),
            }

    module = Version()
    tf.saved_model.save(module, str(directory), signatures=module.default)
    source.unlink()
    if padding is not None:
        extra = directory / "assets.extra"
        extra.mkdir()
        os.link(padding, extra / "padding")
    return directory


def write_all(folder: Path, numbers: range) -> Path:
    """Writes versions into `folder`/<number>; the padding is one file with many names."""
    folder.mkdir(parents=True)
    padding = folder / "padding"
    padding.write_bytes(os.urandom(PADDING_BYTES))
    for number in numbers:
        write(folder / str(number), number, padding=padding)
    return folder


def cut(directory: Path) -> None:
    """Breaks a version as a full disk does: the end of its graph is missing."""
    file = directory / "saved_model.pb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
