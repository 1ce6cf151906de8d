"""Where a local run puts things: the one owner of the paths below `output`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pipeline.config import Config


@dataclass(frozen=True)
class Places:
    """Paths below the output folder.

    output/metadata.db            ML Metadata: what was made from what
    output/artifacts/<run id>/    what each node of that run wrote; a folder no other run writes to
    output/history/<run id>/      one folder a run: config.json, run.log, result.json, report.html
    output/index.html             page of all runs
    output/.lock                  held while a run goes on
    """

    output: str

    @classmethod
    def of(cls, config: Config) -> Places:
        """The places of a configuration."""
        return cls(config.output)

    @property
    def metadata(self) -> str:
        """SQLite file of ML Metadata."""
        return os.path.join(self.output, "metadata.db")

    def artifacts_of(self, run_id: str) -> str:
        """Pipeline root of a run.

        Each has its own: TFX numbers output folders by ML Metadata's ids, and those begin again
        when the database is removed, or an older one is put in its place.
        """
        return os.path.join(self.output, "artifacts", run_id)

    @property
    def history(self) -> str:
        """Folder of all runs."""
        return os.path.join(self.output, "history")

    @property
    def lock(self) -> str:
        """Lock file."""
        return os.path.join(self.output, ".lock")

    def run(self, run_id: str, *parts: str) -> str:
        """A run's folder, or a file in it."""
        return os.path.join(self.history, run_id, *parts)

    def report(self, run_id: str) -> str:
        """Page of a run."""
        return self.run(run_id, "report.html")

    @property
    def index(self) -> str:
        """Page of all runs."""
        return os.path.join(self.output, "index.html")
