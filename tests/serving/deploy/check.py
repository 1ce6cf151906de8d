"""`make deploy-check`: what deploys Headrace, by the validators of those who will read it.

Needs the package index. A validator that cannot be had on this machine is named, with the command
that runs it elsewhere; only what a validator objects to fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TERRAFORM = ROOT / "serving/deploy/terraform"
SCHEMAS = {
    "vendor.github-workflows": sorted((ROOT / ".github/workflows").glob("*.yaml")),
    "vendor.cloudbuild": [ROOT / "serving/deploy/cloudbuild.yaml"],
    "vendor.compose-spec": [ROOT / "serving/deploy/compose.yaml"],
}
TOOL = ["sh", str(ROOT / "bootstrap/ensure.sh"), "tool"]
CHECK_JSONSCHEMA = [*TOOL, "check-jsonschema==0.39.0", "check-jsonschema"]
#: Made from version 6.50.0 of the google provider.
PROVIDER = "@cdktf/provider-google@16.12.1"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


class Report:
    """One line a check, and the exit code."""

    def __init__(self) -> None:
        self.failed = False

    def run(self, what: str, command: Sequence[str], cwd: Path = ROOT, **variables: str) -> None:
        """Runs a validator; prints what it says if it objects."""
        environment = {**os.environ, "CHECKPOINT_DISABLE": "1", **variables}
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        well = done.returncode == 0
        print(f"{what:<52}{'ok' if well else 'FAILED'}", flush=True)
        if not well:
            self.failed = True
            print(done.stdout + done.stderr, file=sys.stderr)

    def left_out(self, what: str, why: str) -> None:
        """A check that this machine cannot do."""
        print(f"{what:<52}not checked: {why}", flush=True)


def main() -> int:
    """Runs all; returns the exit code."""
    report = Report()
    for schema, files in SCHEMAS.items():
        words = [*CHECK_JSONSCHEMA, "--builtin-schema", schema, *map(str, files)]
        report.run(f"{', '.join(file.name for file in files)}: schema", words)
    actionlint(report)
    terraform(report)
    return int(report.failed)


def actionlint(report: Report) -> None:
    """Expressions, contexts and shell lines of the workflows."""
    what = "workflows: actionlint"
    files = [str(path) for path in SCHEMAS["vendor.github-workflows"]]
    if shutil.which("actionlint"):
        report.run(what, ["actionlint", *files])
    elif shutil.which("go"):
        report.run(what, ["go", "run", ACTIONLINT, *files])
    else:
        report.left_out(what, f"needs actionlint or Go: go run {ACTIONLINT}")


def terraform(report: Report) -> None:
    """Form, and every resource, attribute and reference against the provider's schema."""
    tool = shutil.which("terraform") or shutil.which("tofu")
    if tool is None:
        report.left_out("terraform", "needs terraform or tofu on the PATH")
        return
    report.run("terraform: form", [tool, "fmt", "-check", "-diff", "-recursive", str(TERRAFORM)])
    package = provider_package()
    if package is None:
        report.left_out("terraform: resources", "needs npm, or `terraform init` and `validate`")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provider = folder / "terraform-provider-google"
        script = Path(__file__).with_name("google_provider.py")
        words = [*TOOL, "tf==1.2.0", "python", str(script), str(wanted(package, folder / "lib"))]
        provider.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
        provider.chmod(0o755)
        settings = folder / "settings.tfrc"
        settings.write_text(
            f'provider_installation {{ dev_overrides {{ "hashicorp/google" = "{folder}" }} }}\n'
        )
        report.run(
            "terraform: resources",
            [tool, "validate", "-no-color"],
            TERRAFORM,
            TF_CLI_CONFIG_FILE=str(settings),
        )


def provider_package() -> Path | None:
    """The npm package with the provider's schema; None without npm."""
    archive = ROOT / ".bootstrap" / f"{re.sub(r'[^a-z0-9.]+', '-', PROVIDER)[1:]}.tgz"
    if archive.is_file():
        return archive
    if shutil.which("npm") is None:
        return None
    with tempfile.TemporaryDirectory(dir=archive.parent) as name:
        pack = ["npm", "pack", "--silent", PROVIDER]
        subprocess.run(pack, cwd=name, check=True, stdout=subprocess.DEVNULL)
        (packed,) = Path(name).glob("*.tgz")
        packed.rename(archive)
    return archive


def wanted(archive: Path, folder: Path) -> Path:
    """A folder with the resources that the files name and no other: the package has 1,500."""
    text = "".join(path.read_text() for path in TERRAFORM.glob("*.tf"))
    kinds = set(re.findall(r'^resource "google_(\w+)"', text, re.MULTILINE))
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            kind, _, file = member.name.removeprefix("package/lib/").partition("/")
            if kind.replace("-", "_") in kinds and file in ("index.js", "index.d.ts"):
                content = tar.extractfile(member)
                assert content is not None
                (folder / kind).mkdir(exist_ok=True)
                (folder / kind / file).write_bytes(content.read())
    return folder  # a resource that is not in it, Terraform will not find either


if __name__ == "__main__":
    sys.exit(main())
