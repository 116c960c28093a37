"""The config of the kill harness: all stages, in seconds; see kills.py."""

from restpg_jax import config


def get_config(folder: str) -> config.Config:
  """`folder` has the weights of a model of one layer."""
  model = config.Model(checkpoint=folder)
  return config.Config(
    # Both reason and E-step, but outputs of untrained weights never hold the
    # marker of an answer: those of a method without reasoning are judged.
    methods=('sft_reasoning', 'rest_em'),
    iterations=1,
    policy=model,
    data=config.Data(world=config.World(train=8, val=2, test=4)),
    prompt=config.Prompt(
      template='prompts/tiny/policy.txt', max_input=128, max_output=32
    ),
    reason=config.Reason(
      model=model,
      template='prompts/tiny/reasoner.txt',
      max_input=128,
      max_output=32,
      tries=2,
      cut_off='keep',
    ),
    draw=config.Draw(m=2),
    answer=config.Sample(m=2),
    reward=config.Reward(name='rouge'),
    evaluate=config.Evaluate(metrics=('rouge1',)),
    select=config.Select(rule='best', floor=0.0),
    train=config.Train(
      steps=6,
      batch_size=4,
      warmup=1,
      learning_rate=1e-3,
      checkpoint_every=2,
      compute_dtype='float32',
    ),
    choose=config.Choose(examples=1),
    compute=config.Compute(
      prompts=2,
      samples=2,
      judged=4,
      log_every=1,
      cpu_devices=1,
      rows=1,
      row_length=160,
      silence=6.0,
      joining=60,
    ),
  )
