"""What tests of commands share: a workdir with finished methods."""

import pytest

from tests import runs


@pytest.fixture
def workdir(tmp_path):
  return runs.chosen(tmp_path / 'work')
