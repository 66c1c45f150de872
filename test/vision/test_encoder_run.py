"""Protects training from a dataset: its frames in order; what cannot be used is said; a YAML leads to a folder that loads."""

import numpy as np
import pytest
import torch
import yaml

from wm_core.data.episode import Episode
from wm_core.data.errors import DatasetError
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings
from wm_core.errors import ConfigurationError, VisionError
from wm_core.training.dataset_frames import FrameSource
from wm_core.training.encoder_run import run_decoder, run_encoder
from wm_core.training.errors import TrainingError
from wm_core.training.overrides import overridden
from wm_core.vision.decoder import load_decoder
from wm_core.vision.embedded import MomentNetwork
from wm_core.vision.load import load_encoder

CPU = torch.device("cpu")
CAMERA = "observation.images.front"
ENCODER = """
{recipe: convolutional, seed: 0, steps: 5, batch: 4, learning_rate: 0.001, weight_decay: 0.0, warmup_steps: 1, checkpoint_every: 2,
 network: {width: 8, stride: 4, maps: 4, cell: 8, dim: 8}, decoder_width: 8, narrowing: {noise: 0.1, price: 0.001, distance: 0.1},
 rarity: 0.5}
"""
DECODER = """
{network: {kind: light, cell: 8, width: 8, depth: 1, heads: 1}, perceptual_weight: 0.1, latent_noise: 0.1, seed: 0, steps: 4, batch: 4,
 learning_rate: 0.001}
"""


def written(root, lengths, frames):
    """A dataset of unlabelled episodes cut from `frames` (E, T, S, S, 3), and its description."""
    video = VideoSettings(codec="h264", quality=1, chroma="yuv444p", key_frame_every=2, file_size=5.0)
    layout = Layout(10, "none", {CAMERA: frames.shape[2:4]}, {})
    with DatasetWriter(root / "set", layout, video) as writer:
        for length, pictures in zip(lengths, frames, strict=False):
            writer.write(Episode("", np.arange(length) / 10.0, {CAMERA: pictures[:length]}, {}))
    (root / "set.yaml").write_text(yaml.safe_dump({"name": "squares", "fps": 10.0, "cameras": {"front": CAMERA}}))
    return FrameSource(root / "set", root / "set.yaml")


@pytest.fixture(scope="module")
def source(tmp_path_factory, squares):
    return written(tmp_path_factory.mktemp("even"), (8, 8, 8), squares[0])


@pytest.fixture
def config(tmp_path):
    (tmp_path / "encoder.yaml").write_text(ENCODER)
    (tmp_path / "decoder.yaml").write_text(DECODER)
    return tmp_path


def test_frames_are_those_of_the_dataset_in_order(source, squares):
    said = []
    frames = source.load(said.append)
    assert frames.dtype == np.uint8
    assert frames.shape == (3, 8, 32, 32, 3)
    assert np.abs(frames.astype(float) - squares[0][:3]).mean() < 3.0
    assert np.abs(frames.astype(float) - squares[0][:3][:, ::-1]).mean() > 4.0
    assert not said


def test_episodes_of_several_lengths_are_refused_and_so_is_an_unknown_camera(tmp_path, squares, source):
    with pytest.raises(TrainingError, match=r"not of one length; got: 5 \.\. 8 rows"):
        written(tmp_path, (8, 5), squares[0]).load(print)
    with pytest.raises(DatasetError, match=r"no camera of that role; got: frnt; .*nearest: front"):
        FrameSource(source.root, source.description, "frnt").load(print)


def test_an_episode_that_cannot_be_read_is_said_and_left_out(source, squares, monkeypatch):
    from wm_core.data.errors import EpisodeError
    from wm_core.data.reader import DatasetReader

    whole = DatasetReader.frames

    def broken(self, episode, rows, role):
        if episode == 1:
            raise EpisodeError("the video ends early")
        return whole(self, episode, rows, role)

    monkeypatch.setattr(DatasetReader, "frames", broken)
    said = []
    frames = source.load(said.append)
    assert len(frames) == 2
    assert np.abs(frames[1].astype(float) - squares[0][2]).mean() < 3.0
    assert said == ["skipped episode 1 of squares: the video ends early"]


def test_yaml_and_dataset_lead_to_an_encoder_and_its_decoder(source, config, tmp_path):
    said = []
    encoder = run_encoder(config / "encoder.yaml", ["steps=3", "network.dim=16"], source, tmp_path / "encoder", CPU, said.append)
    assert encoder.dim == 16
    assert load_encoder(str(tmp_path / "encoder"), CPU).weight_hash == encoder.weight_hash
    assert any(line.startswith("step 3 of 3: loss ") for line in said)
    decoder = run_decoder(config / "decoder.yaml", [], str(tmp_path / "encoder"), source, tmp_path / "decoder", CPU, said.append)
    patches = torch.randn(2, 16, 16)
    assert torch.equal(load_decoder(tmp_path / "decoder", encoder, CPU).pictures(patches), decoder.pictures(patches))


def test_another_configuration_does_not_go_on_in_the_same_folder(source, config, tmp_path):
    run_encoder(config / "encoder.yaml", [], source, tmp_path / "encoder", CPU, print)
    with pytest.raises(VisionError, match="state of another training"):
        run_encoder(config / "encoder.yaml", ["seed=1"], source, tmp_path / "encoder", CPU, print)


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("widht=3", "unknown key 'widht' in the command line"),
        ("dim", "an override has no value; got: dim"),
        ("dim=[", "not YAML"),
        ("dim=4", "'dim' in the command line is not valid; got: 4; allowed: 8 .. 2048"),
    ],
)
def test_an_override_is_checked_like_the_file(override, match):
    with pytest.raises(ConfigurationError, match=match):
        overridden(MomentNetwork(8, 2, 4, 8, 8), [override])


def test_an_override_may_not_turn_one_recipe_into_another(source, config, tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"settings are those of another recipe; got: masked; .*mend: start from config/encoder_masked.yaml"
    ):
        run_encoder(config / "encoder.yaml", ["recipe=masked"], source, tmp_path / "encoder", CPU, print)
