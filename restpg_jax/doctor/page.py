"""Renders doctor.html: the findings, for a person to read."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from restpg_jax.doctor import survey_tables
from restpg_jax.io import pages

TEMPLATE = pathlib.Path(__file__).with_name('templates') / 'doctor.html.j2'


def doctor_page(
  diagnosis: dict[str, Any], tables: Sequence[survey_tables.SurveyTable]
) -> str:
  """Returns a page in one file without scripts.

  diagnosis: what doctor.json holds.
  """
  return pages.render(
    TEMPLATE,
    escape=True,
    filters={},
    diagnosis=diagnosis,
    tables=tables,
    leaks=[
      leak for summary in diagnosis['splits'] for leak in summary['leaks']
    ],
    config=json.dumps(diagnosis['config'], indent=2, ensure_ascii=False),
    style=pages.style(),
  )
