"""The phases of Algorithm 1, each a few stages: the lines of restpg.py."""

import dataclasses
from collections.abc import Callable
from typing import Any

from restpg_jax import config, effective, experiments
from restpg_jax.io import artifacts
from restpg_jax.rewards import selection
from restpg_jax.stages import (
  choose,
  draw,
  measure,
  reason,
  retrieve,
  score,
  select,
  train,
)

# step(name, stage, *inputs, cfg=.., after=..), as artifacts.Store.step. What it
# returns is only handed on: an Artifact in a run, but whatever stands for one
# where the steps are merely listed (restpg.plan, preflight).
Step = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Method:
  """A row of Table 1."""

  reasoning: bool  # the policy writes reasoning before its answer
  em: bool  # it is improved by expectation-maximisation


@dataclasses.dataclass(frozen=True)
class Run:
  """The parts of Algorithm 1 for one method, each a few calls of `step`."""

  cfg: config.Config
  method: Method
  step: Step

  def retrieve(self, split: str) -> artifacts.Artifact:
    """Returns a split's examples with the documents that fit them best."""
    cfg = self.cfg
    return self.step(
      f'retrieve/{split}',
      retrieve.retrieve,
      cfg=retrieve.retrieve_settings(cfg.data, cfg.retrieval, split, cfg.seed),
    )

  def demonstrate(self, examples: artifacts.Artifact) -> artifacts.Artifact:
    """Returns the targets of SFT: gold texts, behind reasoning or alone."""
    if not self.method.reasoning:
      return self.step('targets', reason.copy_targets, examples)
    settings = reason.ReasonSettings.of(
      effective.sampling(self.cfg.reason),
      prompt=self.cfg.prompt,
      seed=self.cfg.seed,
      tokenizer=self._tokenizer,
    )
    return self.step(
      'reason',
      reason.reason,
      examples,
      cfg=settings,
      after=reason.warn_if_older,
    )

  def fit(
    self,
    name: str,
    start: artifacts.Artifact,
    examples: artifacts.Artifact,
    targets: artifacts.Artifact,
    val: artifacts.Artifact,
  ) -> artifacts.Artifact:
    """Trains from `start` and chooses the checkpoint: SFT and every M-step."""
    trained = self.step(
      f'{name}/train',
      train.train,
      start,
      examples,
      targets,
      cfg=train.TrainSettings(
        train=effective.train(self.cfg.train),
        prompt=self.cfg.prompt,
        tokenizer=self._tokenizer,
        reasoning=self.method.reasoning,
        seed=self.cfg.seed,
      ),
      after=train.warn_if_no_loss,
    )
    return self.step(
      f'{name}/choose',
      choose.choose,
      trained,
      val,
      cfg=choose.ChooseSettings(
        choose=self.cfg.choose,
        answer=effective.sampling(self.cfg.answer),
        reward=effective.reward(self.cfg.reward),
        prompt=self.cfg.prompt,
        tokenizer=self._tokenizer,
        reasoning=self.method.reasoning,
        seed=self.cfg.seed,
      ),
      after=choose.clear,
    )

  def e_step(
    self, t: int, policy: artifacts.Artifact, examples: artifacts.Artifact
  ) -> artifacts.Artifact:
    """Draws m outputs an input, scores them and keeps the good ones.

    In one round, or in several, of which the later ones leave out inputs whose
    kept outputs are certain.
    """
    cfg = self.cfg
    rounds = cfg.draw.rounds or (cfg.draw.m,)
    scored = []
    for n, m in enumerate(rounds):
      suffix = f'_{n + 1}' if n else ''
      settings = dataclasses.replace(
        self._draw_settings(cfg.draw, 'draw', t),
        m=m,
        before=rounds[:n],
        select=effective.select(cfg.select) if n else None,
        budget=cfg.draw.m,  # the same compiled shapes in every round
      )
      samples = self.step(
        f'e_step{t}/draw{suffix}',
        draw.draw,
        policy,
        examples,
        *scored,
        cfg=settings,
      )
      settings = score.ScoreSettings(
        effective.reward(cfg.reward),
        cfg.prompt,
        self.method.reasoning,
        m,
        selection.lowest_kept(cfg.select),  # only shown
      )
      scored.append(
        self._score(f'e_step{t}/score{suffix}', examples, samples, settings)
      )
    settings = select.SelectSettings(effective.select(cfg.select), rounds)
    return self.step(f'e_step{t}/select', select.select, *scored, cfg=settings)

  def evaluate(
    self, t: int, policy: artifacts.Artifact, test: artifacts.Artifact
  ) -> experiments.Evaluation:
    """Answers each test input, then scores and measures the answers."""
    cfg = self.cfg
    answers = self.step(
      f'eval{t}/answer',
      draw.draw,
      policy,
      test,
      cfg=self._draw_settings(cfg.answer, 'test', t),
    )
    test_reward = measure.reward_of(cfg.reward, cfg.evaluate)
    reward = effective.reward(test_reward)
    settings = score.ScoreSettings(
      reward,
      cfg.prompt,
      self.method.reasoning,
      cfg.answer.m,
      shards=cfg.evaluate.shards,
    )
    scores = self._score(f'eval{t}/score', test, answers, settings)
    settings = measure.measure_settings(
      cfg.evaluate,
      cfg.retrieval,
      prompt=cfg.prompt,
      reward=test_reward,
      reasoning=self.method.reasoning,
      m=cfg.answer.m,
    )
    measures = None
    if settings.metrics:
      measures = self.step(
        f'eval{t}/measure', measure.measure, test, answers, cfg=settings
      )
    return experiments.Evaluation(t, test, answers, scores, measures, reward)

  def _score(
    self,
    name: str,
    examples: artifacts.Artifact,
    samples: artifacts.Artifact,
    settings: score.ScoreSettings,
  ) -> artifacts.Artifact:
    return self.step(
      name,
      score.score,
      examples,
      samples,
      cfg=settings,
      after=score.warn_if_all_zero,
    )

  def _draw_settings(
    self, sample: config.Sample, purpose: str, t: int
  ) -> draw.DrawSettings:
    return draw.DrawSettings.of(
      effective.sampling(sample),
      prompt=self.cfg.prompt,
      tokenizer=self._tokenizer,
      reasoning=self.method.reasoning,
      seed=self.cfg.seed,
      purpose=purpose,
      iteration=t,
    )

  @property
  def _tokenizer(self) -> config.Model:
    """The policy's tokenizer, without the checkpoint.

    Weights reach a stage as its input, and so its fingerprint already.
    """
    return dataclasses.replace(self.cfg.policy, checkpoint='', base='')
