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
    return _handler(handler.request_streaming, handler.response_streaming, implementation, deserializer, serializer)


def with_reading(handler: Handler, implementation: Any, deserializer: Any, serializer: Any) -> Handler:
    """As `with_implementation`, but the function reads its requests from the context: one of them, or a stream.

    On the wire one request is a stream of one.
    """
    return _handler(True, handler.response_streaming, implementation, deserializer, serializer)


def _handler(reads: bool, streams: bool, implementation: Any, deserializer: Any, serializer: Any) -> Handler:
    incoming, outgoing = ("stream" if each else "unary" for each in (reads, streams))
    make = getattr(grpc, f"{incoming}_{outgoing}_rpc_method_handler")
    made: Handler = make(implementation, deserializer, serializer)
    return made
