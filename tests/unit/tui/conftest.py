"""Skips what needs Textual where it is not installed."""

import pytest

pytest.importorskip("textual")
