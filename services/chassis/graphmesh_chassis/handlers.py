"""Method handlers of grpc, whose shape depends on their arity."""

from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def implementation_of(handler: Handler) -> Any:
    """The function of a handler: the one that is set of its four attributes, one an arity."""
    functions = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    return next(function for function in functions if function is not None)


def with_implementation(handler: Handler, implementation: Any, deserializer: Any, serializer: Any) -> Handler:
    """A handler of the same arity with another function."""
    incoming = "stream" if handler.request_streaming else "unary"
    outgoing = "stream" if handler.response_streaming else "unary"
    make = getattr(grpc, f"{incoming}_{outgoing}_rpc_method_handler")
    made: Handler = make(implementation, deserializer, serializer)
    return made
