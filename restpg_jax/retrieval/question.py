"""What a retriever ranks: the documents of a user, by a request."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class RetrievalQuery:
  """A request and the documents of its user."""

  id: str  # of the example
  query: str
  keys: Sequence[str]  # of the documents, as they are compared with the query
