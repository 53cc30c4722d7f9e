"""Contracts that are not installed: reading descriptor sets, the handles made from them, and what is refused."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)
from google.protobuf.unknown_fields import UnknownFieldSet
from graphmesh.policy.v1 import policy_pb2
from graphmesh_chassis.validation import violations
from graphmesh_contracts import (
    ContractError,
    Rpc,
    StreamingRpc,
    breaking_changes,
    method_policy,
    read_descriptor_set,
    service,
)
from graphmesh_contracts.descriptor_sets import MAX_BYTES
from graphmesh_nodes import tool_schema, tool_schemas

from tests.shipping.contract import NAME, contract, contract_files

Change = Callable[[FileDescriptorProto, ServiceDescriptorProto], None]


def shipping(files: FileDescriptorSet) -> FileDescriptorProto:
    return next(file for file in files.file if file.service)


def method(service: ServiceDescriptorProto, name: str) -> MethodDescriptorProto:
    return next(one for one in service.method if one.name == name)


def message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(one for one in file.message_type if one.name == name)


def field(file: FileDescriptorProto, name: str, number: int) -> FieldDescriptorProto:
    return next(one for one in message(file, name).field if one.number == number)


def changed(change: Change) -> FileDescriptorSet:
    files = contract_files()
    file = shipping(files)
    change(file, file.service[0])
    return files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a mesh's descriptor sets, with that of the shipping service."""
    monkeypatch.setenv("GRAPHMESH_DESCRIPTOR_SETS", str(tmp_path))
    (tmp_path / f"{NAME}.binpb").write_bytes(contract())
    return tmp_path


def test_handles_are_those_of_generated_packages(folder: Path) -> None:
    shipping = service(NAME)
    assert shipping.NAME == NAME
    assert isinstance(shipping.Ship, Rpc)
    assert isinstance(shipping.Track, StreamingRpc)
    assert (shipping.Ship.path, shipping.Ship.tool) == (f"/{NAME}/Ship", "shipping.Ship")
    assert shipping.Ship.request(order_id="o_1", to={"city": "Riga"}, speed="SPEED_FAST").to.city == "Riga"
    assert method_policy(shipping.Recall.descriptor).needs_approval
    assert service(NAME) is shipping


def test_a_handle_that_does_not_exist_is_an_error_with_those_that_do(folder: Path) -> None:
    with pytest.raises(AttributeError, match=rf"{NAME} has no RPC Shipp; it has Ship, Recall, ListParcels, Track"):
        _ = service(NAME).Shipp
    with pytest.raises(ContractError, match=r"the service acme.shipping.v1.Ships; .*acme.shipping.v1.Ships.binpb does"):
        service("acme.shipping.v1.Ships")


def test_without_descriptor_sets_a_service_is_an_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHMESH_DESCRIPTOR_SETS", raising=False)
    assert service("graphmesh.billing.v1.BillingService").Charge.tool == "billing.Charge"
    with pytest.raises(ContractError, match="GRAPHMESH_DESCRIPTOR_SETS is not set"):
        service(NAME)


def test_tools_for_models_have_the_rules_and_comments_of_the_set(folder: Path) -> None:
    shipping = service(NAME)
    assert [tool.name for tool in tool_schemas(shipping)] == ["shipping_Ship", "shipping_ListParcels"]
    tool = tool_schema(shipping.Ship)
    assert tool.description == "Ships one parcel of an order."
    assert tool.parameters["required"] == ["order_id", "to"]
    assert tool.parameters["properties"]["order_id"]["maxLength"] == 40
    assert tool.parse({"order_id": "o_1", "to": {"city": "Riga"}}) == shipping.Ship.request(
        order_id="o_1", to={"city": "Riga"}
    )


def test_a_tool_has_a_bounded_number_of_fields(folder: Path) -> None:
    """A small contract whose messages use each other twice would be a schema of a billion fields."""

    def doubling(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
        service.name = "DoublingService"
        field = FieldDescriptorProto(label=FieldDescriptorProto.LABEL_OPTIONAL, type=FieldDescriptorProto.TYPE_MESSAGE)
        for level in range(30):
            inner = f".acme.shipping.v1.Level{level + 1}" if level < 29 else ".acme.shipping.v1.Address"
            one, two = (FieldDescriptorProto(name=f"f{number}", number=number, type_name=inner) for number in (1, 2))
            one.MergeFrom(field)
            two.MergeFrom(field)
            file.message_type.add(name=f"Level{level}", field=[one, two])
        method(service, "ListParcels").input_type = ".acme.shipping.v1.Level0"

    name = "acme.shipping.v1.DoublingService"
    (folder / f"{name}.binpb").write_bytes(changed(doubling).SerializeToString())
    with pytest.raises(ValueError, match=r"shipping.ListParcels has 3,221,225,470 fields"):
        tool_schema(service(name).ListParcels)


def test_two_sets_with_messages_of_the_same_name_do_not_meet(folder: Path) -> None:
    """Neither their fields nor their rules; nor do they replace messages of installed contracts."""

    def longer(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
        service.name = "OtherService"
        rules = field(file, "ShipRequest", 1).options.Extensions[validate_pb2.field]
        rules.string.min_len = 5

    other = "acme.shipping.v1.OtherService"
    (folder / f"{other}.binpb").write_bytes(changed(longer).SerializeToString())
    short, long = service(NAME).Ship, service(other).Ship
    assert short.request is not long.request
    for _ in range(2):
        assert [one.description for one in violations(long.request(order_id="abc", to={"city": "Riga"}))] == [
            "must be at least 5 characters"
        ]
        assert violations(short.request(order_id="abc", to={"city": "Riga"})) == ()


def unread(change: Change) -> str:
    """Return the reason why the changed contract is refused."""
    return refused(changed(change).SerializeToString())


def refused(content: bytes, name: str = NAME) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "shipping.binpb")
        path.write_bytes(content)
        with pytest.raises(ContractError) as error:
            read_descriptor_set(path).service(name)
    return str(error.value)


def no_policy(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    method(service, "Ship").options.ClearExtension(policy_pb2.method)


def no_service_policy(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    service.options.ClearExtension(policy_pb2.service)


def no_key(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    method(service, "Ship").options.ClearField("idempotency_level")


def streaming_effect(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    method(service, "Track").options.idempotency_level = MethodOptions.IDEMPOTENT


def long_timeout(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    method(service, "Ship").options.Extensions[policy_pb2.method].timeout.seconds = 4000


def unknown_option(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    policy = method(service, "Ship").options.Extensions[policy_pb2.method]
    policy.MergeFromString(b"\x98\x06\x01")  # the field 99, a varint
    assert list(UnknownFieldSet(policy))  # type: ignore[call-overload]


def bad_rule(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    rules = field(file, "ShipRequest", 1).options.Extensions[validate_pb2.field]
    rules.cel.add(id="x", message="y", expression="this.size(")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_policy, f"{NAME}.Ship declares no policy: the option graphmesh.policy.v1.method"),
        (no_service_policy, f"{NAME} declares no policy: the option graphmesh.policy.v1.service"),
        (no_key, f"{NAME}.Ship declares no idempotency_level"),
        (streaming_effect, f"{NAME}.Track is an effect and streams"),
        (long_timeout, f"policy of {NAME}.Ship: timeout: must be greater than 0s and less than or equal to 3600s"),
        (unknown_option, f"the policy of {NAME}.Ship has fields that this version does not know: field 99"),
        (bad_rule, "the rules of acme.shipping.v1.ShipRequest do not compile"),
    ],
)
def test_a_contract_without_what_graphs_rely_on_is_refused(change: Change, reason: str) -> None:
    assert reason in unread(change)


def without_imports() -> bytes:
    return FileDescriptorSet(file=[shipping(contract_files())]).SerializeToString()


def with_a_cycle() -> bytes:
    files = [FileDescriptorProto(name=one, dependency=[other]) for one, other in (("a", "b"), ("b", "a"))]
    return FileDescriptorSet(file=files).SerializeToString()


def other_option() -> bytes:
    """An option of the team's own with the number of the policies."""
    files = contract_files()
    files.file.add(
        name="acme/options.proto", package="acme", dependency=["google/protobuf/descriptor.proto"], syntax="proto3"
    ).extension.add(
        name="owner",
        number=50100,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.TYPE_STRING,
        extendee=".google.protobuf.MethodOptions",
    )
    [policy] = [one for one in files.file if one.name == "graphmesh/policy/v1/policy.proto"]
    del policy.extension[:]
    return files.SerializeToString()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"", "is a descriptor set without files"),
        (lambda: b"<html>not found</html>", "is not a descriptor set"),
        (lambda: contract()[:2000], "is not a descriptor set"),
        (without_imports, "lacks buf/validate/validate.proto, which acme/shipping/v1/shipping.proto imports"),
        (with_a_cycle, "has files that import each other"),
        (lambda: contract() + contract(), "has google/protobuf/descriptor.proto twice"),
        (other_option, "has the option acme.owner with the number of graphmesh.policy.v1.method"),
    ],
)
def test_a_broken_set_is_refused(content: Callable[[], bytes], reason: str) -> None:
    assert reason in refused(content())


def test_files_may_be_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "shipping.binpb"
    path.write_bytes(FileDescriptorSet(file=reversed(contract_files().file)).SerializeToString())
    assert read_descriptor_set(path).service_names() == [NAME]


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.binpb"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(ContractError, match=f"has 104,857,600 bytes; a descriptor set has at most {MAX_BYTES:,}"):
        read_descriptor_set(path)
    with pytest.raises(ContractError, match="is not a file"):
        read_descriptor_set(tmp_path)
    with pytest.raises(ContractError, match="does not exist"):
        read_descriptor_set(tmp_path / "none")


def test_a_service_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert refused(contract(), "acme.shipping.v1.Ships") == f"has no service acme.shipping.v1.Ships; it has {NAME}"


def removed_method(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    del service.method[0]


def effect_becomes_read(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    method(service, "Ship").options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS


def removed_field(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    del message(file, "Address").field[0]


def renamed_field(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    field(file, "Address", 1).name = "town"


def other_type(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    field(file, "ListParcelsRequest", 1).type = FieldDescriptorProto.TYPE_INT64
    field(file, "ListParcelsRequest", 1).ClearField("options")


def repeated(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    field(file, "ShipResponse", 1).label = FieldDescriptorProto.LABEL_REPEATED


def removed_value(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    del file.enum_type[0].value[2]


def other_response(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    method(service, "Recall").output_type = ".acme.shipping.v1.ShipResponse"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (removed_method, f"{NAME}.Ship is removed"),
        (effect_becomes_read, f"{NAME}.Ship changes its idempotency_level"),
        (removed_field, "acme.shipping.v1.Address.city is removed"),
        (renamed_field, "acme.shipping.v1.Address.city is renamed to town"),
        (other_type, "acme.shipping.v1.ListParcelsRequest.order_id changes its type from string to int64"),
        (repeated, "acme.shipping.v1.ShipResponse.parcel changes whether it is repeated"),
        (removed_value, "acme.shipping.v1.Speed.SPEED_FAST is removed"),
        (
            other_response,
            f"{NAME}.Recall has acme.shipping.v1.ShipResponse in place of acme.shipping.v1.RecallResponse",
        ),
    ],
)
def test_breaking_changes_are_found(tmp_path: Path, change: Change, sentence: str) -> None:
    [found] = breaking(tmp_path, change)
    assert found.endswith(sentence)


def rules_of(file: FileDescriptorProto, name: str, number: int) -> Any:
    return field(file, name, number).options.Extensions[validate_pb2.field]


def narrower(change: Callable[[Any], None], name: str = "ShipRequest", number: int = 1) -> Change:
    """Change the rules of a field."""
    return lambda file, service: change(rules_of(file, name, number))


def new_field(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    message(file, "Address").field.add(name="street", number=2, type=FieldDescriptorProto.TYPE_STRING, label=1)
    rules_of(file, "Address", 2).string.min_len = 1


def new_expression(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    rules = message(file, "ShipRequest").options.Extensions[validate_pb2.message]
    rules.cel.add(id="fast.abroad", message="no", expression="this.speed == 0")


def odd(rules: Any) -> None:
    rules.cel.add(id="odd", message="no", expression="this != 1")


def by_id(rules: Any) -> None:
    getattr(rules.string, "in").extend(["o_1", "o_2"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (narrower(lambda rules: setattr(rules.string, "max_len", 20)), "ShipRequest.order_id: string.max_len is 20 in"),
        (narrower(lambda rules: setattr(rules.string, "min_len", 2)), "ShipRequest.order_id: string.min_len is 2 in"),
        (narrower(lambda rules: setattr(rules.string, "pattern", "^o_")), "order_id: string.pattern is new: '^o_'"),
        (narrower(lambda rules: setattr(rules.string, "uuid", True)), "order_id: string.uuid is new: True"),
        (narrower(by_id), "order_id: string.in is new"),
        (narrower(lambda rules: rules.string.not_in.append("x"), "Address"), "Address.city: string.not_in has 'x'"),
        (narrower(lambda rules: setattr(rules, "required", True), number=3), "ShipRequest.speed: required is new"),
        (
            narrower(odd, number=3),
            "ShipRequest.speed: has the new rule odd",
        ),
        (new_expression, "ShipRequest: has the new rule fast.abroad"),
        (new_field, "Address.street: is new, and not optional: must be at least 1 character"),
    ],
)
def test_narrower_rules_of_requests_break_callers(tmp_path: Path, change: Change, sentence: str) -> None:
    [found] = breaking(tmp_path, change)
    assert found.removeprefix("acme.shipping.v1.").endswith(sentence) or sentence in found


@pytest.mark.parametrize(
    "change",
    [
        narrower(lambda rules: setattr(rules.string, "max_len", 80)),
        narrower(lambda rules: rules.string.ClearField("min_len")),
        narrower(lambda rules: setattr(rules, "ignore", validate_pb2.IGNORE_ALWAYS)),
        narrower(lambda rules: rules.ClearField("enum"), number=3),
    ],
)
def test_wider_rules_of_requests_break_nothing(tmp_path: Path, change: Change) -> None:
    assert breaking(tmp_path, change) == []


def test_a_required_oneof_breaks_callers_where_it_is_new(tmp_path: Path) -> None:
    def with_oneof(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
        address = message(file, "Address")
        address.oneof_decl.add(name="place").options.Extensions[validate_pb2.oneof].required = True
        address.field.add(name="street", number=2, type=FieldDescriptorProto.TYPE_STRING, label=1, oneof_index=0)

    old, new = contract(), changed(with_oneof).SerializeToString()
    assert breaking_of(tmp_path, old, new) == ["acme.shipping.v1.Address: requires one of the fields of place"]
    assert breaking_of(tmp_path, new, new) == []


def test_rules_of_responses_may_be_narrower(tmp_path: Path) -> None:
    def longer(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
        rules_of(file, "Parcel", 1).string.min_len = 10

    assert breaking(tmp_path, longer) == []


NUMBERS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {"lte": 5}, True),
    ({"lte": 5}, {"lte": 6}, False),
    ({"lte": 5}, {"lt": 6}, False),
    ({"lte": 5}, {"lt": 5}, True),
    ({"lt": 5}, {"lte": 5}, False),
    ({"gte": 1}, {"gt": 0}, False),
    ({"gte": 1}, {"gt": 1}, True),
    ({"gte": 1}, {}, False),
    ({"gt": 1}, {"gte": 0}, False),
]


@pytest.mark.parametrize(("before", "after", "breaks"), NUMBERS)
def test_bounds_of_numbers_are_compared(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], breaks: bool
) -> None:
    def with_bounds(bounds: dict[str, Any]) -> bytes:
        files = contract_files()
        number = message(shipping(files), "ListParcelsRequest").field.add(
            name="limit", number=2, type=FieldDescriptorProto.TYPE_INT32, label=1
        )
        number.options.Extensions[validate_pb2.field].int32.MergeFrom(validate_pb2.Int32Rules(**bounds))
        rules = number.options.Extensions[validate_pb2.field]
        rules.ignore = validate_pb2.IGNORE_IF_ZERO_VALUE
        return files.SerializeToString()

    assert bool(breaking_of(tmp_path, with_bounds(before), with_bounds(after))) == breaks


def added(file: FileDescriptorProto, service: ServiceDescriptorProto) -> None:
    message(file, "Parcel").field.add(name="weight", number=5, type=FieldDescriptorProto.TYPE_INT32, label=1)
    file.enum_type[0].value.add(name="SPEED_SLOW", number=3)
    again: Any = service.method.add()
    again.CopyFrom(method(service, "ListParcels"))
    again.name = "ListAll"
    method(service, "Ship").options.Extensions[policy_pb2.method].timeout.seconds = 9


def test_additions_break_nothing(tmp_path: Path) -> None:
    assert breaking(tmp_path, added) == []


def breaking(folder: Path, change: Change) -> list[str]:
    return breaking_of(folder, contract(), changed(change).SerializeToString())


def breaking_of(folder: Path, old: bytes, new: bytes) -> list[str]:
    before, after = folder / "before.binpb", folder / "after.binpb"
    before.write_bytes(old)
    after.write_bytes(new)
    return breaking_changes(read_descriptor_set(before).service(NAME), read_descriptor_set(after).service(NAME))
