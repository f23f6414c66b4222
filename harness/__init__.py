# SPDX-License-Identifier: MIT
"""The pytest plugin that runs guest kernels on a VMM and turns what they print into results."""
