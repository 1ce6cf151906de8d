"""Tasks that run nothing and only look into the metadata: importers and resolvers."""

from __future__ import annotations

from pipeline.vertex import filters
from pipeline.vertex.lint import graph
from pipeline.vertex.twin.job import Artifacts, Job, Outcome, TaskFailed, Tree


def import_artifact(job: Job, component: Tree, importer: Tree, parameters: Tree) -> Outcome:
    """An artifact that exists already; registered again only if the importer says so."""
    store = job.machinery.store
    (key,) = component["outputDefinitions"]["artifacts"]
    where = importer["artifactUri"]
    uri = where.get("constant")
    if uri is None:
        uri = parameters[where["runtimeParameter"]]
    kind = importer["typeSchema"]
    title, metadata = graph.title(kind), importer.get("metadata", {})
    terms = [filters.Term("uri", "", uri), filters.Term("schema_title", "", title)]
    found = None if importer.get("reimport") else store.latest(job.context, terms)
    artifact = found or store.add(
        job.context, title, uri, kind=kind, metadata=metadata, state="LIVE"
    )
    return Outcome("SUCCEEDED", {key: [artifact]})


def resolve(job: Job, resolver: Tree, artifacts: Artifacts) -> Outcome:
    """The newest artifact that fits each query; nothing is no failure.

    Raises:
        TaskFailed: a query cannot be read.
    """
    found: Artifacts = {}
    for key, query in resolver["outputArtifactQueries"].items():
        text = filters.filled(query["filter"], artifacts)
        try:
            terms = filters.parse(text) if text is not None else None
        except ValueError as error:
            raise TaskFailed(f"The filter {text!r} {error}.") from error
        latest = job.machinery.store.latest(job.context, terms) if terms else None
        found[key] = [latest] if latest else []
    return Outcome("SUCCEEDED", found)
