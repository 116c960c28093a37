"""The paper's own setup (appendix B): Gemma 2B policy, Gemma 7B-it judge.

  python -m restpg_jax.main preflight --config=configs/paper.py \
      --topology=v4:4x4x4

says what it needs and takes, before there are weights, data or TPUs. Then

  python -m restpg_jax.main run --config=configs/paper.py --workdir=gs://... \
      --config.data.path=LONGLAMP --config.policy.checkpoint=GEMMA_2B \
      --config.policy.tokenizer=TOKENIZER ...

with folders of LongLaMP and of weights: of Gemma 2B for the policy, of Gemma
7B-it for reasoner and judge, of Contriever (retrieval.encoder). Table 1 of the
paper for comparison, test, macro over four tasks: SFT .3976, SFT with
reasoning .3905, ReST-EM .4274, REST-PG .4554.
"""

from restpg_jax import config


def get_config() -> config.Config:
  judge = config.Model(checkpoint='gemma_7b', tokenizer='gemma.model')
  return config.Config(
    methods=('sft', 'sft_reasoning', 'rest_em', 'rest_pg'),
    iterations=3,  # T
    data=config.Data(path='longlamp', setting='user'),
    retrieval=config.Retrieval('contriever', k=5, encoder='contriever'),
    policy=config.Model(checkpoint='gemma_2b', tokenizer='gemma.model'),
    prompt=config.Prompt(max_input=5120, max_output=1536),
    # 7,680 + 512, and 8,190 + two digits of a label: Gemma's context is 8,192.
    reason=config.Reason(model=judge, dtype='bfloat16', max_input=7680),
    draw=config.Draw(m=32, temperature=0.7, dtype='bfloat16'),
    reward=config.Reward(model=judge, dtype='bfloat16', max_input=8190),
    # Evaluation in full precision: 7B in float32 are 31.8 GiB, more than a v4
    # chip has.
    answer=config.Sample(m=1, temperature=0.1, dtype='float32'),
    evaluate=config.Evaluate(dtype='float32', shards=4),
    # The paper does not say that it drops copies.
    select=config.Select(threshold=1.0, limit=10, distinct=False),
    train=config.Train(
      steps=10_000,
      batch_size=64,
      warmup=250,
      learning_rate=5e-6,
      final_rate=0.1,
      weight_decay=0.01,
      clip=1.0,
      optimizer='adafactor',
      checkpoint_every=1000,
    ),
    choose=config.Choose(examples=1024),
  )
