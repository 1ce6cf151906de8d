"""Buckets as folders: gs://bucket/a/b is <root>/bucket/a/b."""

from __future__ import annotations

import os
import shutil

from pipeline.errors import RunError

_SCHEME = "gs://"


class Buckets:
    """All buckets of a rehearsal.

    Args:
        root: folder that holds them; its path appears in the commands of tasks.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        os.makedirs(self.root, exist_ok=True)

    def local(self, uri: str) -> str:
        """The path of a gs:// address."""
        return os.path.join(self.root, uri.removeprefix(_SCHEME))

    def to_local(self, text: str) -> str:
        """A text with all gs:// addresses in it replaced by paths."""
        return text.replace(_SCHEME, f"{self.root}/")

    def to_remote(self, text: str) -> str:
        """The inverse of `to_local`."""
        return text.replace(f"{self.root}/", _SCHEME)

    def create(self, bucket: str) -> None:
        """Makes a bucket, if it is not there."""
        os.makedirs(os.path.join(self.root, bucket), exist_ok=True)

    def exists(self, bucket: str) -> bool:
        """Whether there is such a bucket."""
        return os.path.isdir(os.path.join(self.root, bucket))

    def mount(self, uri: str, folder: str) -> None:
        """Lets a folder of this machine be seen at a gs:// address, instead of what was there.

        Raises:
            RunError: there is no such folder.
        """
        if not os.path.isdir(folder):
            raise RunError(f"{folder}: is no folder, so there is nothing to be seen at {uri}.")
        target = self.local(uri).rstrip("/")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(target):
            os.remove(target)
        elif os.path.isdir(target):
            shutil.rmtree(target)
        os.symlink(os.path.abspath(folder), target)
