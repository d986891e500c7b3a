"""Read a provider's schema out of its published cdktn bindings; nothing is downloaded or executed here.

The bindings are JavaScript that a generator wrote from `terraform providers schema`. Three regular shapes in them
carry the schema: a comment `// name - computed: …, optional: …, required: …` above each attribute of a class, a table
`name: {isBlock, type, storageClassType}` for what can be configured, and a typed getter for what can only be read.
What they do not carry: sensitivity, the provider's own value checks, and whether a nested object is a block or an
attribute where both look alike in the configuration.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ATTRIBUTE = re.compile(r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)")
CLASS = re.compile(r"^(?:export )?class (\w+) extends cdktn\.(\w+) \{$", re.MULTILINE)
TABLE_ROW = re.compile(
    r"^ +(\w+): \{\n +value: [^\n]*\n +isBlock: (true|false),\n +type: \"(\w+)\",\n +storageClassType: \"(\w+)\"",
    re.MULTILINE,
)
GETTER = re.compile(r"return this\.get(\w+)Attribute\('(\w+)'\)")
CLASS_MEMBER = re.compile(r"= new (\w+)\(this, \"(\w+)\"")
RESOURCE_TYPE = re.compile(r"static tfResourceType = \"(\w+)\"")

SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
GETTER_TYPES: dict[str, Any] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "AnyMap": "dynamic",
    "BooleanMap": ["map", "bool"],
}


@dataclass(frozen=True)
class Class:
    """One generated class: the attributes that its comments name, in order, and the text they stand in."""

    name: str
    base: str
    text: str
    attributes: dict[str, tuple[bool, bool, bool]] = field(default_factory=dict)


def classes(source: str) -> dict[str, Class]:
    """Split a generated file into its classes."""
    found = list(CLASS.finditer(source))
    result = {}
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(source)
        text = source[match.start() : end]
        attributes = {
            name: (computed == "true", optional == "true", required == "true")
            for name, computed, optional, required in ATTRIBUTE.findall(text)
        }
        result[match[1]] = Class(match[1], match[2], text, attributes)
    return result


def storage_type(kind: str, storage: str) -> Any:
    """Give Terraform's JSON type for a row of the table: `list` of `stringList` is `["list", "string"]`."""
    if kind == "simple":
        return SCALARS[storage]
    element = re.sub(r"(List|Map|Set)$", "", storage)
    if element.endswith("List"):
        return [kind, ["list", SCALARS[element.removesuffix("List")]]]
    if element == "any":
        return "dynamic"
    return [kind, SCALARS[element]]


def block(source: str, known: dict[str, Class], name: str, table: str) -> dict[str, Any]:
    """Build the JSON schema of one block from its class and its table.

    Args:
        source: the whole generated file.
        known: its classes.
        name: the class whose comments describe the attributes.
        table: the text that holds the configuration table.
    """
    rows = {row[0]: (row[1] == "true", row[2], row[3]) for row in TABLE_ROW.findall(table)}
    # Blocks of the provider itself have no class: nothing is read from them, so all that is known is the table.
    described = known.get(name, Class(name, "", "", dict.fromkeys(rows, (False, True, False))))
    members = {member: kind for kind, member in CLASS_MEMBER.findall(described.text)}
    getters = {attribute: kind for kind, attribute in GETTER.findall(described.text)}
    attributes: dict[str, Any] = {}
    block_types: dict[str, Any] = {}
    for attribute, (computed, optional, required) in described.attributes.items():
        flags = {"computed": computed, "optional": optional, "required": required}
        row = rows.get(attribute)
        if row and row[0]:
            block_types[attribute] = nested(source, known, row, members.get(attribute, row[2]), required=required)
        elif row:
            attributes[attribute] = {"type": storage_type(row[1], row[2]), **flags}
        elif attribute in getters:
            attributes[attribute] = {"type": GETTER_TYPES[getters[attribute]], **flags}
        else:  # a computed list of objects: nothing of ours reads into one
            attributes[attribute] = {"type": "dynamic", **flags}
    return {"attributes": attributes, "block_types": block_types}


def nested(
    source: str, known: dict[str, Class], row: tuple[bool, str, str], member: str, *, required: bool
) -> dict[str, Any]:
    """Build the schema of a nested block; a member that is no list takes one block at most."""
    _, kind, storage = row
    single = member.endswith("OutputReference")
    struct = member.removesuffix("OutputReference") if single else member.removesuffix("List")
    function = struct[0].lower() + struct[1:] + "ToHclTerraform"
    table = source[source.index(f"function {function}(") :]
    table = table[: table.index("\n}\n")]
    result: dict[str, Any] = {
        "nesting_mode": "single" if kind == "struct" else kind,
        "block": block(source, known, f"{struct}OutputReference", table),
    }
    if kind != "struct":
        result["min_items"] = 1 if required else 0
        if storage.endswith("List") and single:
            result["max_items"] = 1
    return result


def schema(source: str) -> tuple[str, dict[str, Any]]:
    """Give the Terraform type name and the JSON schema of the resource or provider in one generated file."""
    known = classes(source)
    main = next(c for c in known.values() if c.base in {"TerraformResource", "TerraformProvider"})
    table = main.text[main.text.index("synthesizeHclAttributes()") :]
    return RESOURCE_TYPE.search(main.text)[1], block(source, known, main.name, table)  # type: ignore[index]


def folder_of(resource: str, prefix: str) -> str:
    """Give the folder of a resource's bindings: `azurerm_role_assignment` is in `role-assignment`."""
    return re.sub(r"_(?=[a-z0-9])", "-", resource.removeprefix(prefix))


def read(wheel: Path, prefix: str, resources: list[str]) -> dict[str, Any]:
    """Read the schemas of the provider and of the named resources from a cdktn wheel.

    Args:
        wheel: the wheel that `pip download` left.
        prefix: of the provider's resources, as `azurerm_`.
        resources: their full names.
    """
    result: dict[str, Any] = {"resource_schemas": {}}
    wanted = {f"package/lib/{folder_of(name, prefix)}/index.js" for name in resources} | {
        "package/lib/provider/index.js"
    }
    with zipfile.ZipFile(wheel) as archive:
        [inner] = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        version = re.search(r"provider version (\d+\.\d+\.\d+)", archive.read(metadata).decode())
        with archive.open(inner) as stream, tarfile.open(fileobj=stream, mode="r:gz") as bindings:
            for member in bindings:
                if member.name not in wanted:
                    continue
                wanted.remove(member.name)
                stream_of_member = bindings.extractfile(member)
                assert stream_of_member is not None
                name, parsed = schema(stream_of_member.read().decode())
                if member.name == "package/lib/provider/index.js":
                    result["provider"] = parsed
                else:
                    result["resource_schemas"][name] = parsed
                if not wanted:
                    break
    if wanted:
        raise LookupError(f"not among the bindings: {', '.join(sorted(wanted))}")
    result["version"] = version[1] if version else "unknown"
    return result


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]), indent=1))
