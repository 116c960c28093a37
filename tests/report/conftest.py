"""What tests of the report share."""

import warnings

import pytest


@pytest.fixture
def no_warnings():
  """A warning is an error."""
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    # Of whatever is collected meanwhile, other tests' files among it.
    warnings.simplefilter('ignore', ResourceWarning)
    yield
