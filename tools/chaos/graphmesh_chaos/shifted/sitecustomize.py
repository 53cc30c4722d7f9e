"""Shifts the clock of a program. Python imports this module before it."""

import os
from pathlib import Path

from graphmesh_chaos.wall_clock import FILE_SETTING, install

install(Path(os.environ[FILE_SETTING]))
