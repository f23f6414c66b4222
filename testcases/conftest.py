# SPDX-License-Identifier: MIT
"""Brings the harness in, whichever way pytest is started."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

pytest_plugins = ["harness.plugin"]
