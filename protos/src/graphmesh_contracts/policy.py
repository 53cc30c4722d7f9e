"""Policies, read from the options that the protos declare and merged with an environment's overrides.

The override of a policy is the JSON form of the policy's own message, so its field names and its rules are those of
`graphmesh/policy/v1/policy.proto`, where they are declared once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from graphmesh.policy.v1 import policy_pb2

if TYPE_CHECKING:
    from protovalidate import Violation

PolicyMessage = TypeVar("PolicyMessage", policy_pb2.MethodPolicy, policy_pb2.ServicePolicy)


APPROVAL_SECONDS = 86_400.0
"""The time to answer an approval, where a policy does not state one."""

_OPTIONS = {
    policy_pb2.MethodPolicy: "graphmesh.policy.v1.method",
    policy_pb2.ServicePolicy: "graphmesh.policy.v1.service",
}
"""The names of the options that declare policies, by their types."""


class PolicyError(ValueError):
    """A policy is missing or breaks the rules of policy.proto."""


class Idempotency(Enum):
    """The effect of a repeated call; protobuf's own `idempotency_level`."""

    UNKNOWN = descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    """Not known: a call is never retried once it may have been sent."""
    READ = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    """None: the method has no effect."""
    EFFECT = descriptor_pb2.MethodOptions.IDEMPOTENT
    """None with the same idempotency key, which every call needs."""


class CustomerCheck(Enum):
    """How a call that is bound to a customer is held to it. See the enum of the same name."""

    UNSPECIFIED = policy_pb2.CUSTOMER_CHECK_UNSPECIFIED
    FIELD = policy_pb2.CUSTOMER_CHECK_FIELD
    RECORD = policy_pb2.CUSTOMER_CHECK_RECORD
    NONE = policy_pb2.CUSTOMER_CHECK_NONE
    REFUSED = policy_pb2.CUSTOMER_CHECK_REFUSED


@dataclass(frozen=True)
class MethodPolicy:
    """The policy of one method. See the message of the same name."""

    idempotency: Idempotency
    timeout: float
    """Seconds."""
    max_attempts: int
    scopes: frozenset[str]
    needs_approval: bool
    visible_to_models: bool
    approvers: frozenset[str]
    """The scopes that an approver needs; empty where not stated."""
    approval_ttl: float = APPROVAL_SECONDS
    """Seconds."""
    waits: bool = False
    """Whether a call spends its time waiting, and is admitted by `max_waits`."""
    tenant_rate: "Rate | None" = None
    customer: CustomerCheck = CustomerCheck.UNSPECIFIED


@dataclass(frozen=True)
class Breaker:
    """When a replica is taken out of rotation. See the message of the same name."""

    consecutive_failures: int
    cooling_period: float
    """Seconds."""
    max_cooling_period: float
    """Seconds."""


@dataclass(frozen=True)
class RateLimit:
    """A token bucket. See the message of the same name."""

    calls: int
    period: float
    """Seconds."""


@dataclass(frozen=True)
class Rate:
    """Calls in any window of a period, counted exactly. See the message of the same name."""

    calls: int
    period: int
    """Seconds."""
    fails_closed: bool = False
    """Whether calls are refused while Redis does not answer."""


@dataclass(frozen=True)
class ServicePolicy:
    """The limits of one replica of a service. See the message of the same name."""

    max_concurrency: int
    max_queue: int
    breaker: Breaker
    rate_limit: RateLimit | None
    max_waits: int = 0
    tenant_rate: Rate | None = None
    client_rate: Rate | None = None


@dataclass(frozen=True)
class Overrides:
    """The overrides of one environment for one service."""

    service: Mapping[str, Any] = field(default_factory=dict)
    """The JSON form of a `ServicePolicy`, with only the fields to change."""
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same for `MethodPolicy`, by the method's own name."""

    @classmethod
    def parse(cls, text: str) -> "Overrides":
        """Parse the JSON object `{"service": {…}, "methods": {"Charge": {…}}}`; an empty text overrides nothing.

        Raises:
            PolicyError: the text is not such an object.
        """
        try:
            return cls(**json.loads(text or "{}"))
        except (ValueError, TypeError) as error:
            raise PolicyError(f"policy overrides are not an object of 'service' and 'methods': {error}") from error

    def dump(self) -> str:
        return json.dumps({"service": self.service, "methods": self.methods})


NO_OVERRIDES = Overrides()


def declared_timeout(method: MethodDescriptor) -> float:
    """Return the seconds that the proto of `method` declares as its timeout, unchecked; 0 where it declares none."""
    return _seconds(method.GetOptions().Extensions[policy_pb2.method].timeout)


def method_policy(method: MethodDescriptor, overrides: Overrides = NO_OVERRIDES) -> MethodPolicy:
    """Read the policy of `method`.

    Raises:
        PolicyError: it declares none, or the declared or the overridden one breaks a rule.
    """
    options = method.GetOptions()
    declared = policy_pb2.MethodPolicy()
    if options.HasExtension(policy_pb2.method):
        declared.CopyFrom(options.Extensions[policy_pb2.method])
    message = _merged(declared, overrides.methods.get(method.name, {}), method.full_name)
    return MethodPolicy(
        idempotency=Idempotency(options.idempotency_level),
        timeout=_seconds(message.timeout),
        max_attempts=message.max_attempts,
        scopes=frozenset(message.scopes),
        needs_approval=message.approval == policy_pb2.APPROVAL_REQUIRED,
        visible_to_models=message.llm_visibility == policy_pb2.LLM_VISIBILITY_VISIBLE,
        approvers=frozenset(message.approvers),
        approval_ttl=_seconds(message.approval_ttl) or APPROVAL_SECONDS,
        waits=message.waits,
        tenant_rate=_rate(message.tenant_rate) if message.HasField("tenant_rate") else None,
        customer=CustomerCheck(message.customer),
    )


def service_policies(
    services: Sequence[ServiceDescriptor], overrides: Overrides = NO_OVERRIDES
) -> Mapping[str, ServicePolicy]:
    """Read the policies of the services of one process, by their full names.

    Raises:
        PolicyError: one declares none, a declared or an overridden one breaks a rule, or an override names a method
            that no service has.
    """
    names = {name for service in services for name in service.methods_by_name}
    if unknown := set(overrides.methods) - names:
        raise PolicyError(f"{services[0].full_name} has no method {', '.join(sorted(unknown))}")
    return {service.full_name: _service_policy(service, overrides) for service in services}


def _service_policy(service: ServiceDescriptor, overrides: Overrides) -> ServicePolicy:
    declared = policy_pb2.ServicePolicy()
    if service.GetOptions().HasExtension(policy_pb2.service):
        declared.CopyFrom(service.GetOptions().Extensions[policy_pb2.service])
    message = _merged(declared, overrides.service, service.full_name)
    return ServicePolicy(
        max_concurrency=message.max_concurrency,
        max_queue=message.max_queue,
        breaker=Breaker(
            message.breaker.consecutive_failures,
            _seconds(message.breaker.cooling_period),
            _seconds(message.breaker.max_cooling_period),
        ),
        rate_limit=(
            RateLimit(message.rate_limit.calls, _seconds(message.rate_limit.period))
            if message.HasField("rate_limit")
            else None
        ),
        max_waits=message.max_waits,
        tenant_rate=_rate(message.tenant_rate) if message.HasField("tenant_rate") else None,
        client_rate=_rate(message.client_rate) if message.HasField("client_rate") else None,
    )


def parse_rate(value: Mapping[str, Any], name: str) -> Rate:
    """Read the JSON form of a rate. `name` is that of its place, for the error.

    Raises:
        PolicyError: it breaks a rule.
    """
    message = policy_pb2.Rate()
    try:
        json_format.ParseDict(dict(value), message)
    except json_format.ParseError as error:
        raise PolicyError(f"{name}: {error}") from error
    _check(message, name)
    return _rate(message)


def _rate(message: policy_pb2.Rate) -> Rate:
    fails_closed = message.failure_mode == policy_pb2.FAILURE_MODE_CLOSED
    return Rate(message.calls, message.period.seconds, fails_closed)


def _merged(declared: PolicyMessage, override: Mapping[str, Any], name: str) -> PolicyMessage:
    try:
        _replace(declared, override)
    except json_format.ParseError as error:
        raise PolicyError(f"override of {name}: {error}") from error
    if not declared.ListFields():
        raise PolicyError(f"{name} declares no policy: the option {_OPTIONS[type(declared)]}")
    _check(declared, f"policy of {name}")
    return declared


def _check(message: Message, name: str) -> None:
    from protovalidate import collect_violations  # half of the import of a client, which needs no policies

    if violations := collect_violations(message):
        broken = "; ".join(f"{field_path(violation)}: {violation.proto.message}" for violation in violations)
        raise PolicyError(f"{name}: {broken}")


def _replace(target: Message, override: Mapping[str, Any]) -> None:
    """Set the named fields. A message is merged field by field, a duration or a list is replaced as a whole."""
    fields = target.DESCRIPTOR
    for name, value in override.items():
        field = fields.fields_by_name.get(name) or fields.fields_by_camelcase_name.get(name)
        if field and isinstance(value, Mapping):
            _replace(getattr(target, field.name), value)
            continue
        if field:
            target.ClearField(field.name)
        json_format.ParseDict({name: value}, target)


def field_path(violation: "Violation") -> str:
    """The dotted path of the field that breaks a rule, with indexes and map keys: `lines[2].quantity`."""
    path = violation.proto.field
    steps = []
    for element in path.elements if path else ():
        step = element.field_name
        if element.subscript is not None:
            step += f"[{element.subscript.value}]"
        steps.append(step)
    return ".".join(steps)


def _seconds(duration: Any) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9
