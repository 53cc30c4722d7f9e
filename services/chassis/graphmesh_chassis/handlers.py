"""grpc's method handlers, whose shape depends on their arity."""

from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def behaviour_of(handler: Handler) -> Any:
    """The one of a handler's four behaviours that it has."""
    behaviours = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    return next(behaviour for behaviour in behaviours if behaviour is not None)


def with_behaviour(handler: Handler, behaviour: Any, deserializer: Any, serializer: Any) -> Handler:
    """A handler of the same arity with another behaviour."""
    incoming = "stream" if handler.request_streaming else "unary"
    outgoing = "stream" if handler.response_streaming else "unary"
    make = getattr(grpc, f"{incoming}_{outgoing}_rpc_method_handler")
    made: Handler = make(behaviour, deserializer, serializer)
    return made
