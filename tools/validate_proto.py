"""Write protos/third_party/buf/validate/validate.proto from the installed protovalidate package.

protovalidate carries the schema of its rules only as a descriptor inside its generated code, and
buf and protoc want a file. This prints the descriptor as a .proto without comments and without the
CEL definitions of the built-in rules (the library has those compiled in). `make proto` runs it and
`make lint` checks the result for drift.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

F = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    F.TYPE_DOUBLE: "double", F.TYPE_FLOAT: "float", F.TYPE_INT64: "int64", F.TYPE_UINT64: "uint64",
    F.TYPE_INT32: "int32", F.TYPE_FIXED64: "fixed64", F.TYPE_FIXED32: "fixed32",
    F.TYPE_BOOL: "bool", F.TYPE_STRING: "string", F.TYPE_BYTES: "bytes", F.TYPE_UINT32: "uint32",
    F.TYPE_SFIXED32: "sfixed32", F.TYPE_SFIXED64: "sfixed64", F.TYPE_SINT32: "sint32",
    F.TYPE_SINT64: "sint64",
}  # fmt: skip
LABELS = {
    F.LABEL_OPTIONAL: "optional ",
    F.LABEL_REPEATED: "repeated ",
    F.LABEL_REQUIRED: "required ",
}


def installed_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """The serialized descriptor in protovalidate's generated module, read without running it."""
    spec = importlib.util.find_spec("protovalidate")
    if spec is None or spec.origin is None:
        raise SystemExit("protovalidate is not installed: run `make setup`")
    module = Path(spec.origin).parent / "_gen/buf/validate/validate_pb.py"
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_DESC":
            call = node.value
            serialized = call.args[0] if isinstance(call, ast.Call) else None
            if isinstance(serialized, ast.Constant) and isinstance(serialized.value, bytes):
                return descriptor_pb2.FileDescriptorProto.FromString(serialized.value)
    raise SystemExit(f"{module}: no descriptor found; protovalidate changed its generated code")


def type_name(field: descriptor_pb2.FieldDescriptorProto) -> str:
    """Name of a field's type as written in a .proto."""
    return SCALARS.get(field.type) or field.type_name


def extension_ranges(message: descriptor_pb2.DescriptorProto) -> list[str]:
    """`extensions` statements; protobuf ends ranges one past the last number."""
    top = 536870911
    return [
        f"extensions {r.start} to {'max' if r.end - 1 >= top else r.end - 1};"
        for r in message.extension_range
    ]


def message_lines(message: descriptor_pb2.DescriptorProto, pad: str) -> list[str]:
    """One message with its fields, oneofs, reserved numbers and nested types."""
    inner = pad + "  "
    lines = [f"{pad}message {message.name} {{"]
    for number, group in enumerate(message.oneof_decl):
        lines.append(f"{inner}oneof {group.name} {{")
        for field in message.field:
            if field.HasField("oneof_index") and field.oneof_index == number:
                lines.append(f"{inner}  {type_name(field)} {field.name} = {field.number};")
        lines.append(f"{inner}}}")
    for field in message.field:
        if not field.HasField("oneof_index"):
            lines.append(
                f"{inner}{LABELS[field.label]}{type_name(field)} {field.name} = {field.number};"
            )
    lines += [inner + statement for statement in extension_ranges(message)]
    lines += [f"{inner}reserved {r.start} to {r.end - 1};" for r in message.reserved_range]
    lines += [f'{inner}reserved "{name}";' for name in message.reserved_name]
    for nested in message.nested_type:
        lines += message_lines(nested, inner)
    for enum in message.enum_type:
        lines += enum_lines(enum, inner)
    return [*lines, f"{pad}}}"]


def enum_lines(enum: descriptor_pb2.EnumDescriptorProto, pad: str) -> list[str]:
    """One enum."""
    alias = [f"{pad}  option allow_alias = true;"] if enum.options.allow_alias else []
    values = [f"{pad}  {value.name} = {value.number};" for value in enum.value]
    return [f"{pad}enum {enum.name} {{", *alias, *values, f"{pad}}}"]


def render(file: descriptor_pb2.FileDescriptorProto) -> str:
    """The file as .proto text."""
    lines = [
        "// Schema of the rules of protovalidate (Copyright Buf Technologies, Inc., Apache 2.0),",
        "// printed from the installed package by tools/validate_proto.py. Do not edit.",
        f'syntax = "{file.syntax or "proto2"}";',
        f"package {file.package};",
        *[f'import "{name}";' for name in file.dependency],
        f'option go_package = "{file.options.go_package}";',
        f'option java_package = "{file.options.java_package}";',
        "option java_multiple_files = true;",
    ]
    for extension in file.extension:
        lines.append(f"extend {extension.extendee} {{")
        label = LABELS[extension.label]
        lines.append(f"  {label}{type_name(extension)} {extension.name} = {extension.number};")
        lines.append("}")
    for message in file.message_type:
        lines += message_lines(message, "")
    for enum in file.enum_type:
        lines += enum_lines(enum, "")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(installed_descriptor()))
