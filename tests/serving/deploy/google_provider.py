"""Terraform's google provider as far as `terraform validate` asks it: the schema of each resource.

The provider itself comes from Terraform's registry alone. Its schema is also in a package of npm,
@cdktf/provider-google, which is generated from it; this program reads it there and answers
Terraform by its own plugin protocol. It can create nothing.

    python google_provider.py FOLDER        FOLDER: the unpacked package's lib/
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tf import runner
from tf.gen import tfplugin_pb2 as pb

_TYPES: dict[tuple[str, str], Any] = {
    ("simple", "string"): "string",
    ("simple", "boolean"): "bool",
    ("simple", "number"): "number",
    ("map", "stringMap"): ["map", "string"],
    ("list", "stringList"): ["list", "string"],
    ("set", "stringList"): ["set", "string"],
    ("list", "numberList"): ["list", "number"],
    ("set", "numberList"): ["set", "number"],
}
_ATTRIBUTE = re.compile(
    r"^ +(?P<name>\w+): \{\n +value: (?P<value>.+),\n +isBlock: (?P<block>true|false),"
    r'\n +type: "(?P<type>\w+)",\n +storageClassType: "(?P<kind>\w+)",',
    re.MULTILINE,
)
_COMPUTED = re.compile(r"^ +get (\w+)\(\): (string|number|string\[\]);", re.MULTILINE)
_KINDS = {"string": "string", "number": "number", "string[]": ["list", "string"]}
_NESTING = pb.Schema.NestedBlock.NestingMode


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


class _Package:
    """The two files of a resource."""

    def __init__(self, folder: Path) -> None:
        self._code = (folder / "index.js").read_text()
        self._types = (folder / "index.d.ts").read_text()

    def top(self) -> Any:
        body = self._code[self._code.index("synthesizeHclAttributes() {") :]
        (name,) = re.findall(r"class (\w+) extends cdktf\.TerraformResource", self._types)
        block = self._block(body, f"{name}Config")
        known = {attribute.name for attribute in block.attributes}
        known |= {nested.type_name for nested in block.block_types}
        for member, kind in _COMPUTED.findall(self._types[self._types.index(f"class {name} ") :]):
            attribute = _snake(member)
            if attribute not in known and not attribute.endswith("_input") and kind in _KINDS:
                block.attributes.append(_attribute(attribute, _KINDS[kind], False, computed=True))
        return block

    def _block(self, code: str, interface: str) -> Any:
        required = self._required(interface)
        block = pb.Schema.Block()
        for found in _ATTRIBUTE.finditer(code[: code.index("// remove undefined attributes")]):
            name, must = found["name"], found["name"] in required
            kind = _TYPES.get((found["type"], found["kind"]), "dynamic")
            if found["block"] == "false":
                block.attributes.append(_attribute(name, kind, must))
                continue
            (nested,) = re.findall(r"(?<![.\w])(\w+)ToHclTerraform", found["value"])
            body = self._code[self._code.index(f"function {nested}ToHclTerraform(") :]
            block.block_types.append(
                pb.Schema.NestedBlock(
                    type_name=name,
                    nesting=_NESTING.Value(
                        {"list": "LIST", "set": "SET"}.get(found["type"], "SINGLE")
                    ),
                    min_items=int(must and found["type"] in ("list", "set")),
                    block=self._block(body, nested[0].upper() + nested[1:]),
                )
            )
        return block

    def _required(self, interface: str) -> set[str]:
        start = re.search(rf"export interface {interface} [^{{]*\{{", self._types)
        if start is None:
            raise ValueError(f"the package has no {interface}")
        body = self._types[start.end() : self._types.index("\n}", start.end())]
        return {_snake(name) for name in re.findall(r"readonly (\w+): ", body)}


def _attribute(name: str, kind: Any, required: bool, computed: bool = False) -> Any:
    return pb.Schema.Attribute(
        name=name,
        type=json.dumps(kind).encode(),
        required=required,
        optional=not required and not computed,
        computed=not required,
    )


class _Schema:
    attributes: list[Any] = []
    block_types: list[Any] = []

    def __init__(self, block: Any) -> None:
        self._block = block

    def to_pb(self) -> Any:
        return pb.Schema(block=self._block)


def _resources(folder: Path) -> Iterator[type]:
    for package in sorted(folder.iterdir()):
        name = package.name.replace("-", "_")
        if not (package / "index.d.ts").exists() or name.startswith(("data_google", "provider")):
            continue
        schema = _Schema(_Package(package).top())
        members = {
            "get_name": classmethod(lambda cls, name=name: name),
            "get_schema": classmethod(lambda cls, schema=schema: schema),
            "__init__": lambda self, provider: None,
            "validate": lambda self, *arguments: None,
        }
        yield type(name, (), members)


class GoogleProvider:
    """What `tf` asks of a provider."""

    def __init__(self, folder: Path) -> None:
        self._resources = list(_resources(folder))

    def get_model_prefix(self) -> str:
        return "google_"

    def full_name(self) -> str:
        return "registry.terraform.io/hashicorp/google"

    def get_provider_schema(self, diagnostics: Any) -> _Schema:
        names = ("project", "region", "zone", "credentials", "impersonate_service_account")
        settings = [_attribute(name, "string", False) for name in names]
        for setting in settings:
            setting.computed = False
        return _Schema(pb.Schema.Block(attributes=settings))

    def validate_config(self, diagnostics: Any, config: Any) -> None:
        """Any value of the right type will do."""

    def get_data_sources(self) -> list[type]:
        return []

    def get_resources(self) -> list[type]:
        return self._resources

    def get_functions(self) -> list[type]:
        return []

    def new_resource(self, kind: type) -> Any:
        return kind(self)


if __name__ == "__main__":
    runner.run_provider(GoogleProvider(Path(sys.argv[1])), sys.argv[:1])
