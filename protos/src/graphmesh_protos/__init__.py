"""Typed Python packages from the protos of any repository, and the checks of contracts: rules of fields, policies, buf.

Needs the extra `graphmesh-protos[generate]`. The protos of graphmesh itself, of protovalidate and of `google/api` are
found in the installed packages: a repository has only its own.
"""

from graphmesh_protos.compiler import ProtoError, compile_image, descriptor_set
from graphmesh_protos.generator import generate, replace

__all__ = ["ProtoError", "compile_image", "descriptor_set", "generate", "replace"]
