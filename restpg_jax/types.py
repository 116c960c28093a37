"""The records that stages hand to each other, a frozen dataclass each."""

import dataclasses

TASKS = (  # in the order of the paper's tables
  'email_generation',
  'abstract_generation',
  'product_review',
  'topic_writing',
)
EMAIL, *PUBLIC_TASKS = TASKS  # the e-mails need a licence (LDC2015T03)
CUSTOM = 'custom'  # rows of one's own users
EVERY_TASK = (*TASKS, CUSTOM)


@dataclasses.dataclass(frozen=True)
class Document:
  """One item of a user's profile."""

  text: str  # what a prompt shows: the mail, abstract, review or post
  key: str  # what retrieval compares with the query (adds title, rating ..)


@dataclasses.dataclass(frozen=True)
class TruthSlot:
  """One thing that a synthetic user's own text would say (data/world.py)."""

  want: str  # the word that fits this user
  among: tuple[str, ...]  # all words of its category, `want` included


@dataclasses.dataclass(frozen=True)
class Example:
  """One user's request x with the text y that the user really wrote."""

  id: str  # task/split/row, unique in a run; never the user's own id
  task: str  # one of EVERY_TASK
  input: str  # the instruction x
  output: str  # the gold text y
  profile: tuple[Document, ...] = ()  # P_u; empty once retrieval has run
  context: tuple[str, ...] = ()  # the k retrieved texts, best first
  truth: tuple[TruthSlot, ...] = ()  # known for synthetic users only


@dataclasses.dataclass(frozen=True)
class Trajectory:
  """One generated (or reference) output side for an example."""

  example_id: str
  j: int  # which of the m draws
  text: str  # reasoning and answer, as generated
  ended: bool = True  # False: cut at the output limit
  tokens: int = 0  # generated tokens, the end token included
  reward: float | None = None  # R(x, y, y_hat) in [0, 1]; None = not scored
  # log P(tokens) under the model that drew them, at temperature 1
  logp: float | None = None

  @property
  def scored_reward(self) -> float:
    """The reward; raises ValueError for a trajectory that has none yet."""
    if self.reward is None:
      raise ValueError(f'{self.example_id}, sample {self.j}: it has no reward')
    return self.reward
