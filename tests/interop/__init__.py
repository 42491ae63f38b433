import pytest

# What these assert is explained when it fails.
pytest.register_assert_rewrite(
    "tests.interop.call",
    "tests.interop.descriptions",
    "tests.interop.perfect",
    "tests.interop.restarts",
)
