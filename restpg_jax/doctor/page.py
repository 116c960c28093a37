"""doctor.html: what the doctor found, for a person to read."""

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
  """One file, no script; `diagnosis` is what doctor.json holds."""
  return pages.render(
    TEMPLATE,
    escape=True,
    filters={},
    found=diagnosis,
    tables=tables,
    leaks=[leak for of in diagnosis['splits'] for leak in of['leaks']],
    config=json.dumps(diagnosis['config'], indent=2, ensure_ascii=False),
    style=pages.style(),
  )
