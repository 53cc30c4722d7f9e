"""Generate protos/gen, or with `--image F` only the descriptor image.

A script of its own, since the command `graphmesh protos` needs the generated packages to start.
"""

import argparse
import sys
from pathlib import Path

from graphmesh_protos import ProtoError, compile_image, replace
from graphmesh_protos.compiler import VALIDATE

PROTOS = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, metavar="F")
    parser.add_argument("--protos", type=Path, default=PROTOS, help="the folder that holds graphmesh/")
    parser.add_argument("--out", type=Path, default=PROTOS / "gen", help="the folder to replace")
    arguments = parser.parse_args()
    try:
        if arguments.image:
            arguments.image.write_bytes(compile_image(arguments.protos).SerializeToString())
        else:
            replace(arguments.protos, arguments.out, beside=[VALIDATE])
    except ProtoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
