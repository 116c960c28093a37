"""REST-PG in minutes, on a laptop: bundled tiny models, synthetic users.

  python -m restpg_jax.main run --config=configs/demo.py --workdir=runs/demo

Own data in LongLaMP's schema: add --config.data.path=DIR.
"""

from restpg_jax import config


def get_config() -> config.Config:
  return config.Config(
    methods=('sft_reasoning', 'rest_pg'),
    iterations=1,
    data=config.Data(world=config.World(train=500, val=64, test=200)),
    prompt=config.Prompt(
      template='prompts/tiny/policy.txt', max_input=192, max_output=88
    ),
    reason=config.Reason(
      template='prompts/tiny/reasoner.txt', max_input=256, max_output=80
    ),
    draw=config.Draw(m=8),
    reward=config.Reward(template='prompts/tiny/judge.txt', max_input=192),
    select=config.Select(rule='best', floor=0.7),
    train=config.Train(
      steps=110,
      batch_size=32,
      warmup=10,
      learning_rate=3e-3,
      checkpoint_every=55,
      compute_dtype='float32',
    ),
    choose=config.Choose(examples=16),
    compute=config.Compute(
      slots=80, cpu_devices=2, judged=128, fsdp=1, attention='naive'
    ),
  )
