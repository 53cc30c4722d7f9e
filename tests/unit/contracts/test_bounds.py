"""Fields of requests without bounds are found with the rule that they need."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from graphmesh_protos import compile_image
from graphmesh_protos.bounds import is_bounded, unbounded_fields

PROTO = """
syntax = "proto3";
package acme.v1;
import "buf/validate/validate.proto";
import "google/protobuf/any.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/field_mask.proto";

service Shop {
  rpc Read(Request) returns (Response);
  rpc Again(Request) returns (Response);
}
enum Size { SIZE_UNSPECIFIED = 0; }
message Response { string unbounded = 1; }
message Unused { string unbounded = 1; }
message Inner { Inner inner = 1; string text = 2; }
message Request {
  Inner inner = 1;
  oneof choice { string chosen = 2; Inner chosen_inner = 3; }
  google.protobuf.Struct json = 4;
  google.protobuf.Timestamp time = 5;
  bool flag = 6;
%s
}
"""
FIELDS = {
    "string f": "string.max_len",
    "string f = 99 [(buf.validate.field).string.min_len = 1]": "string.max_len",
    "string f = 99 [(buf.validate.field).string.pattern = '^[a-z]+$']": "string.max_len",
    "string f = 99 [(buf.validate.field).string.email = true]": "string.max_len",
    "string f = 99 [(buf.validate.field).string.max_len = 9]": "",
    "string f = 99 [(buf.validate.field).string.max_bytes = 9]": "",
    "string f = 99 [(buf.validate.field).string.uuid = true]": "",
    "string f = 99 [(buf.validate.field).string.in = 'a']": "",
    "string f = 99 [(buf.validate.field).string.pattern = '^[a-z]{1,9}$']": "",
    "string f = 99 [(buf.validate.field).string.max_len = 9, (buf.validate.field).ignore = IGNORE_ALWAYS]": "ignore",
    "string f = 99 [(buf.validate.field).string.max_len = 9, (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE]": "",
    "optional string f": "string.max_len",
    "bytes f": "bytes.max_len",
    "bytes f = 99 [(buf.validate.field).bytes.max_len = 9]": "",
    "int32 f": "int32.gte and int32.lte",
    "int64 f = 99 [(buf.validate.field).int64.gte = 0]": "int64.lte",
    "sint64 f = 99 [(buf.validate.field).sint64 = {gt: 0, lt: 9}]": "",
    "uint32 f": "uint32.lte",
    "fixed64 f = 99 [(buf.validate.field).fixed64.lte = 9]": "",
    "double f = 99 [(buf.validate.field).double.finite = true]": "double.gte and double.lte",
    "float f = 99 [(buf.validate.field).float = {gte: 0, lte: 1}]": "",
    "Size f": "enum.defined_only",
    "Size f = 99 [(buf.validate.field).enum.defined_only = true]": "",
    "repeated string f": "repeated.max_items",
    "repeated string f = 99 [(buf.validate.field).repeated.max_items = 9]": "repeated.items.string.max_len",
    "repeated bool f = 99 [(buf.validate.field).repeated.max_items = 9]": "",
    "repeated Inner f": "repeated.max_items",
    "map<string, bool> f": "map.max_pairs",
    "map<string, bool> f = 99 [(buf.validate.field).map.max_pairs = 9]": "map.keys.string.max_len",
    "map<int32, string> f = 99 [(buf.validate.field).map = {max_pairs: 9, keys: {int32: {gte: 0, lte: 9}}}]": (
        "map.values.string.max_len"
    ),
    "google.protobuf.StringValue f": "string.max_len",
    "google.protobuf.StringValue f = 99 [(buf.validate.field).string.max_len = 9]": "",
    "google.protobuf.Any f": "any.in",
    "google.protobuf.FieldMask f": "field_mask.in",
}
ALWAYS = {"acme.v1.Inner.text": "string.max_len", "acme.v1.Request.chosen": "string.max_len"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    """One request with all fields: protoc takes a second."""
    fields = [
        (field if " = 99" in field else f"{field} = 99").replace("f = 99", f"f{number} = {number}")
        for number, field in enumerate(FIELDS, start=100)
    ]
    folder = tmp_path_factory.mktemp("protos")
    (folder / "acme/v1").mkdir(parents=True)
    (folder / "acme/v1/shop.proto").write_text(PROTO % "\n".join(f"  {field};" for field in fields))
    return compile_image(folder)


def test_every_kind_of_field_needs_its_bound(image: FileDescriptorSet) -> None:
    """Also fields of inner messages; those of responses, and of messages that no request has, need none."""
    found = {one.field: one.needed for one in unbounded_fields(image.file, ["acme/v1/shop.proto"])}
    for number, (field, needed) in enumerate(FIELDS.items(), start=100):
        got = found.pop(f"acme.v1.Request.f{number}", "")
        assert bool(got) == bool(needed), field
        assert needed in got, field
    assert found.keys() == ALWAYS.keys()


@pytest.mark.parametrize(
    ("pattern", "bounded"),
    [
        ("^[a-z]{1,64}$", True),
        (r"\A[a-z]{3}\z", True),
        ("^(a|b){2}$", True),
        (r"^a\\$", True),
        (r"^a\$", False),
        ("^a|b$", False),
        ("a{3}", False),
        ("^a*$", False),
        ("^[a-z]+$", False),
        ("^a{1,100000000}$", False),
        (r"^\p{L}{1,3}$", False),
        ("^($", False),
    ],
)
def test_a_pattern_is_a_bound_where_its_longest_match_is(pattern: str, bounded: bool) -> None:
    assert is_bounded(pattern) is bounded
