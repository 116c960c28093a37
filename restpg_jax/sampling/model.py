"""What sampling needs of a model, which models.decoder has."""

from collections.abc import Mapping
from typing import Any, Protocol


class Model(Protocol):
  """A Flax module, applied by the name of one of its methods."""

  def apply(
    self, variables: Mapping[str, Any], *args: Any, method: str
  ) -> Any: ...


class Size(Protocol):
  """The shape of a model; models.size.Size says what the numbers mean."""

  @property
  def layers(self) -> int: ...

  @property
  def heads(self) -> int: ...

  @property
  def vocabulary(self) -> int: ...

  def cached(self) -> int: ...

  def largest_cached(self) -> int: ...
