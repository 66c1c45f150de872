"""Protects embedded encoders on disk: what is loaded is what was saved, or it is refused."""

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from wm_core.errors import ConfigurationError, VisionError
from wm_core.vision.embedded import DESCRIPTION, WEIGHTS, MomentNetwork, VitNetwork, load_embedded, save_embedded
from wm_core.vision.load import load_encoder

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path, encoder, network):
    save_embedded(tmp_path, encoder, network, {"frames": "none"})
    return tmp_path


def test_what_is_loaded_is_what_was_saved(folder, encoder, frames):
    loaded = load_encoder(str(folder), CPU)
    assert (loaded.name, loaded.weight_hash, loaded.grid, loaded.dim) == (encoder.name, encoder.weight_hash, encoder.grid, encoder.dim)
    assert loaded.preprocessing == encoder.preprocessing
    assert torch.equal(loaded(frames).patches, encoder(frames).patches)


def test_other_weights_of_the_same_shape_are_refused(folder):
    weights = load_file(folder / WEIGHTS)
    first = next(iter(weights))
    save_file(weights | {first: weights[first] + 1e-3}, folder / WEIGHTS)
    with pytest.raises(VisionError, match="not the ones its description was written for"):
        load_embedded(folder, CPU)


def test_another_preprocessing_than_that_of_training_is_refused(folder):
    described = yaml.safe_load((folder / DESCRIPTION).read_text())
    described["preprocessing"]["mean"] = [0.0, 0.0, 0.0]
    (folder / DESCRIPTION).write_text(yaml.safe_dump(described))
    with pytest.raises(VisionError, match="not the ones its description was written for"):
        load_embedded(folder, CPU)


@pytest.mark.parametrize("kept", [0, 7, 200, -1])
def test_truncated_weights_are_refused(folder, kept):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:kept])
    with pytest.raises(VisionError, match="truncated"):
        load_embedded(folder, CPU)


def test_a_description_of_no_network_or_of_another_is_refused(folder):
    described = yaml.safe_load((folder / DESCRIPTION).read_text())
    kinds = {
        "vit": {"patch": 8, "dim": 16, "depth": 2, "heads": 2},
        "moments": {"width": 8, "stride": 2, "maps": 8, "cell": 8, "dim": 8},
    }
    neither = {key: value for key, value in described.items() if key not in kinds}
    for content, match in ((neither, "which network"), (neither | kinds, "which network")):
        (folder / DESCRIPTION).write_text(yaml.safe_dump(content))
        with pytest.raises(VisionError, match=match):
            load_embedded(folder, CPU)
    wrong = "moments" if "vit" in described else "vit"
    (folder / DESCRIPTION).write_text(yaml.safe_dump(neither | {wrong: kinds[wrong]}))
    with pytest.raises(VisionError, match="does not hold the weights of this network"):
        load_embedded(folder, CPU)


def test_an_unknown_key_names_the_nearest(folder):
    text = (folder / DESCRIPTION).read_text().replace("weight_hash:", "weights_hash:")
    (folder / DESCRIPTION).write_text(text)
    with pytest.raises(ConfigurationError, match="nearest: weight_hash"):
        load_embedded(folder, CPU)


@pytest.mark.parametrize(
    ("network", "size", "key"),
    [
        (VitNetwork(16, 16, 1, 2), 100, "patch"),
        (VitNetwork(8, 18, 1, 4), 32, "dim"),
        (MomentNetwork(12, 2, 8, 8, 8), 32, "width"),
        (MomentNetwork(8, 3, 8, 9, 8), 36, "stride"),
        (MomentNetwork(8, 2, 8, 8, 8), 36, "cell"),
    ],
)
def test_a_network_that_does_not_divide_is_refused_with_the_key_to_mend(network, size, key):
    with pytest.raises(VisionError, match=f"mend: network.{key}"):
        network.build(size)
