"""A reward for tests: the share of the reference's words that an answer has."""

CALLS = []  # the queries of each call


def build(cfg, layout):
  del cfg, layout

  def reward(queries):
    CALLS.append(list(queries))
    for n, query in enumerate(queries):
      words = set(query.reference.split())
      yield [(n, len(words & set(query.answer.split())) / len(words))]

  return reward
