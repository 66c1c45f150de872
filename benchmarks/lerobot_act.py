"""A recorded set in the unmodified lerobot package: a small ACT policy, trained for 20 steps with the package's own dataset and processors.

    python benchmarks/lerobot_act.py DATASET [--steps 20]

Ends with a status other than 0 when a loss is not a number or does not fall. The package's trainer itself needs `accelerate`, which is not
installed here; its dataset, policy, normalisation and optimiser settings are what is used.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from lerobot.configs import FeatureType
from lerobot.datasets import LeRobotDataset
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.utils.feature_utils import dataset_to_policy_features

CHUNK = 8  # actions that are predicted at once
SEEN = ("observation.images.front", "observation.state")


def small(dataset):
    """A policy of a hundredth of ACT's size, for the camera, the state and the action of the set."""
    features = dataset_to_policy_features(dataset.meta.features)
    inputs = {name: features[name] for name in SEEN}
    outputs = {"action": features["action"]}
    assert outputs["action"].type is FeatureType.ACTION
    sizes = {"dim_model": 64, "n_heads": 4, "dim_feedforward": 128, "n_encoder_layers": 1, "n_vae_encoder_layers": 1, "latent_dim": 8}
    config = ACTConfig(
        input_features=inputs,
        output_features=outputs,
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **sizes,
    )
    return config, ACTPolicy(config)


def batches(loader):
    while True:
        yield from loader


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    fps = LeRobotDataset("local/set", root=arguments.dataset, video_backend="pyav").fps
    ahead = {"action": [step / fps for step in range(CHUNK)]}
    dataset = LeRobotDataset("local/set", root=arguments.dataset, delta_timestamps=ahead, video_backend="pyav")
    config, policy = small(dataset)
    prepare, _ = make_act_pre_post_processors(config, dataset_stats=dataset.meta.stats)
    optimiser = torch.optim.AdamW(policy.get_optim_params(), lr=1e-3, weight_decay=config.optimizer_weight_decay)
    loader = torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True)
    policy.train()
    losses, began = [], time.monotonic()
    for _, batch in zip(range(arguments.steps), batches(loader), strict=False):
        loss, _ = policy.forward(prepare(batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    quarter = max(len(losses) // 4, 1)
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    print(f"{dataset.num_episodes} episodes, {len(dataset)} rows; {sum(p.numel() for p in policy.parameters())} weights")
    print(f"{len(losses)} steps in {time.monotonic() - began:.1f} s; loss {first:.3f} -> {last:.3f}")
    sys.exit(not last < first)


if __name__ == "__main__":
    main()
