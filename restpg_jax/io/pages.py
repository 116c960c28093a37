"""Pages and Markdown by jinja2: its door for files that people open."""

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
  """Renders a template file; `escape` is for HTML.

  A value that the template names and is not given is an error.
  """
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
  """Marks text of the package itself, which goes into a page unescaped."""
  return markupsafe.Markup(text)


def style() -> markupsafe.Markup:
  """Returns the style sheet that all pages share."""
  return trusted((assets.HERE / 'style.css').read_text('utf-8'))


def write_page(path: epath.Path, text: str) -> None:
  """Writes a page; the file appears whole or not at all."""
  part = path.parent / f'{path.name}.part'
  # 'replace': users' texts may hold half of a surrogate pair.
  part.write_bytes(text.encode('utf-8', 'replace'))
  part.replace(path)
