"""What became of a run, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.local.result import RunResult
from pipeline.report.evidence import Evidence
from pipeline.report.formats import Check, Finding
from pipeline.report.text import clip, listed, many

#: How a finding reads after the name of its feature.
_SAID = {
    "anomaly": "breaks the schema",
    "drift": "has drifted",
    "skew": "is served otherwise than trained on",
    "splits": "differs between the splits",
    "label": "has shifted",
    "prediction": "has shifted",
    "new_column": "is a new column",
    "unreviewed": "is not in the schema as it is configured",
    "quarantine": "has too many quarantined rows",
    "rows": "has too few rows",
    "repeats": "has rows more than once",
}

#: Status → mark, word, tone. Mark and word say it without the colour.
STATUS = {
    "pushed": ("✔", "Pushed", "good"),
    "up_to_date": ("✔", "Up to date", "good"),
    "not_blessed": ("✘", "Not blessed", "warn"),
    "blocked": ("✘", "Blocked", "warn"),
    "failed": ("!", "Failed", "bad"),
}


@dataclass(frozen=True)
class Gate:
    """One gate on the way: `passed` is None where the run did not come so far."""

    name: str
    passed: bool | None
    text: str


def said(finding: Finding) -> str:
    """A finding in a few words: `payment_type has drifted`."""
    what = finding.feature or finding.split or "the data"
    return f"{clip(what, 40)} {_SAID.get(finding.kind, finding.kind)}"


def blocking(evidence: Evidence) -> list[Finding]:
    """Findings that closed the data gate."""
    found = evidence.verdict.findings if evidence.verdict else ()
    return [finding for finding in found if finding.policy == "block"]


def failed_checks(evidence: Evidence) -> list[Check]:
    """Bars that the model did not reach, those over all rows first."""
    found = [c for c in evidence.evaluated.checks if not c.passed] if evidence.evaluated else []
    return sorted(found, key=lambda check: check.slice != "overall")


def sentence(evidence: Evidence) -> str:
    """The headline."""
    result = evidence.result
    if result.status == "pushed":
        model = f" of {evidence.config.serving.model_name}" if evidence.config else ""
        return f"Pushed as version {result.model_version}{model}."
    if result.status == "up_to_date":
        return f"Nothing new to push: {result.message or f'version {result.model_version} stands'}."
    if result.status == "blocked":
        found = list(dict.fromkeys(said(finding) for finding in blocking(evidence)))
        why = listed(found) if found else clip(_first_line(result.message), 200)
        return f"Blocked by the data gate: {why}. Nothing was trained."
    if result.status == "not_blessed":
        return f"Not blessed because {_refusal(evidence)}. Nothing was pushed."
    return f"{_where(evidence)}: {clip(_first_line(result.message), 120) or 'no message'}"


def _refusal(evidence: Evidence) -> str:
    reasons = [check.message for check in failed_checks(evidence)]
    if evidence.proof:
        reasons += [f"{f.check}: {f.message}" for f in evidence.proof.findings if not f.passed]
    if not reasons:
        return clip(_first_line(evidence.result.message), 200) or "a judge refused"
    rest = len(reasons) - 1
    return clip(reasons[0], 200) + (f", and {many(rest, 'more check')} failed" if rest else "")


def _where(evidence: Evidence) -> str:
    failed = [node.name for node in evidence.nodes if node.state == "failed"]
    if failed:
        return f"Failed at {listed(failed)}"
    return "Failed" if evidence.nodes else "Failed before the first component"


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0]


def gates(evidence: Evidence) -> list[Gate]:
    """The gates in the order a run meets them."""
    return [_data(evidence), _model(evidence), _server(evidence), _push(evidence.result)]


def _data(evidence: Evidence) -> Gate:
    verdict = evidence.verdict
    if verdict is None:
        return Gate("Data", None, "not judged")
    by_policy = {
        policy: sum(f.policy == policy for f in verdict.findings)
        for policy in ("block", "retrain", "warn", "allowed")
    }
    words = {
        "block": ("blocking", "blocking"),
        "retrain": ("asking for retraining", "asking for retraining"),
        "warn": ("warning", "warnings"),
        "allowed": ("allowed", "allowed"),
    }
    told = [many(count, *words[policy]) for policy, count in by_policy.items() if count]
    text = ", ".join(told) or "no findings"
    return Gate("Data", verdict.passed, text)


def _model(evidence: Evidence) -> Gate:
    evaluated = evidence.evaluated
    if evaluated is None:
        return Gate("Model", None, "not evaluated")
    failed = sum(not check.passed for check in evaluated.checks)
    total = many(len(evaluated.checks), "bar")
    return Gate("Model", evaluated.blessed, f"{failed:,} of {total} missed" if failed else total)


def _server(evidence: Evidence) -> Gate:
    proof = evidence.proof
    if proof is None:
        return Gate("Server", None, "not tried")
    failed = sum(not finding.passed for finding in proof.findings)
    total = many(len(proof.findings), "check")
    return Gate("Server", proof.passed, f"{failed:,} of {total} failed" if failed else total)


def _push(result: RunResult) -> Gate:
    if result.status == "pushed":
        return Gate("Push", True, f"version {result.model_version}")
    if result.status == "up_to_date":
        return Gate("Push", True, f"is version {result.model_version} already")
    if result.model_version is not None:
        return Gate("Push", True, f"version {result.model_version}, before the run broke")
    return Gate("Push", None, "nothing pushed")
