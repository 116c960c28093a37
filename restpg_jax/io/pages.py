"""Pages and Markdown by jinja2: the door to it for files that people open."""

from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import markupsafe
from etils import epath

from restpg_jax import assets


def render(
  template: epath.PathLike,
  *,
  escape: bool,
  filters: Mapping[str, Callable[..., str]],
  **values: Any,
) -> str:
  """A template's text; `escape` for HTML. A value that it lacks is an error."""
  path = epath.Path(template)
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(path.parent),
    autoescape=escape,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.filters.update(filters)
  return environment.get_template(path.name).render(**values)


def trusted(text: str) -> markupsafe.Markup:
  """Text of the package itself, which goes into a page as it is."""
  return markupsafe.Markup(text)


def style() -> markupsafe.Markup:
  """The style sheet that all pages share."""
  return trusted((assets.HERE / 'style.css').read_text('utf-8'))


def write_page(path: epath.Path, text: str) -> None:
  """The file appears whole or not at all."""
  part = path.parent / f'{path.name}.part'
  part.write_bytes(text.encode('utf-8', 'replace'))
  part.replace(path)
