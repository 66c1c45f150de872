"""Protects the loading of published encoders: registers and CLS apart from patches, places resampled, wrong or broken files refused.

The networks are of the published families, only narrower and shallower, with random weights in a local safetensors file.
"""

import pytest
import timm
import torch
from safetensors.torch import save_file

from wm_core.errors import VisionError
from wm_core.vision.load import load_encoder
from wm_core.vision.timm_encoder import MODELS, TimmEncoderConfig, load_model, load_timm

CPU = torch.device("cpu")
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}
FAMILIES = {
    "vit_small_patch16_dinov3": (224, 14, 4),
    "vit_small_patch14_reg4_dinov2": (196, 14, 4),
    "vit_small_patch14_dinov2": (196, 14, 0),
}


def tiny(model_name, size):
    torch.manual_seed(0)
    return timm.create_model(model_name, num_classes=0, img_size=size, **TINY).eval()


@pytest.fixture
def saved(tmp_path):
    def save(model):
        save_file(model.state_dict(), tmp_path / "weights.safetensors")
        return str(tmp_path / "weights.safetensors")

    return save


@pytest.mark.parametrize(("model_name", "size", "side", "registers"), [(name, *row) for name, row in FAMILIES.items()], ids=list(FAMILIES))
def test_patches_come_without_cls_and_registers(saved, model_name, size, side, registers):
    model = tiny(model_name, size)
    config = TimmEncoderConfig("dinov3_vits16", saved(model), size, "exact")
    encoder = load_model(config, model_name, CPU, **TINY)
    frames = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        everything = model.forward_features((frames / 255.0 - mean) / std)
    tokens = encoder(frames)
    assert encoder.grid == (side, side)
    assert everything.shape[1] == side * side + 1 + registers
    torch.testing.assert_close(tokens.patches, everything[:, 1 + registers :], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens.cls, everything[:, 0], atol=1e-4, rtol=1e-4)


def test_learned_places_are_resampled_to_the_grid(saved):
    model = tiny("vit_small_patch14_dinov2", 518)
    with torch.no_grad():
        model.pos_embed[:, 1:] = torch.linspace(-1, 1, 37)[None, :, None, None].expand(1, 37, 37, 24).reshape(1, 37 * 37, 24)
    config = TimmEncoderConfig("dinov2_vits14", saved(model), 196, "stretch")
    places = load_model(config, "vit_small_patch14_dinov2", CPU, **TINY).backbone.model.pos_embed[:, 1:].reshape(14, 14, 24)
    wanted = ((torch.arange(14) + 0.5) / 14 * 37 - 0.5) / 18 - 1
    torch.testing.assert_close(places[2:-2, 5, 0], wanted[2:-2], atol=1e-2, rtol=0)


def test_the_same_file_gives_the_same_hash_and_another_size_another_one(saved):
    path = saved(tiny("vit_small_patch16_dinov3", 224))
    hashes = [
        load_model(TimmEncoderConfig("dinov3_vits16", path, size, "stretch"), "vit_small_patch16_dinov3", CPU, **TINY).weight_hash
        for size in (64, 64, 96)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_truncated_file_is_refused(saved):
    path = saved(tiny("vit_small_patch16_dinov3", 64))
    with open(path, "rb+") as file:
        file.truncate(20_000)
    with pytest.raises(VisionError, match=r"truncated .* mend: download or copy it again"):
        load_model(TimmEncoderConfig("dinov3_vits16", path, 64, "stretch"), "vit_small_patch16_dinov3", CPU, **TINY)


def test_weights_of_another_model_are_refused_with_what_differs(saved):
    path = saved(tiny("vit_small_patch16_dinov3", 64))
    other = TINY | {"depth": 3, "embed_dim": 32}
    with pytest.raises(VisionError, match=r"missing: blocks\.2.*shape: .*\(24,\) for \(32,\)"):
        load_model(TimmEncoderConfig("dinov3_vits16", path, 64, "stretch"), "vit_small_patch16_dinov3", CPU, **other)


@pytest.mark.parametrize(("name", "match"), [("weights.pth", "a pickle runs code"), ("none.safetensors", "does not exist")])
def test_pickles_and_missing_files_are_refused(tmp_path, name, match):
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(VisionError, match=match):
        load_timm(TimmEncoderConfig("dinov3_vits16", str(tmp_path / name), 64, "stretch"), CPU)


def test_a_size_that_is_no_whole_number_of_patches_is_refused(tmp_path):
    with pytest.raises(VisionError, match=r"dinov2_vits14 cannot see this size; got: 100 pixels; allowed: multiples of 14"):
        load_timm(TimmEncoderConfig("dinov2_vits14", str(tmp_path / "none.safetensors"), 100, "stretch"), CPU)


@pytest.mark.parametrize(
    "load", [lambda name: load_encoder(name, CPU), lambda name: load_timm(TimmEncoderConfig(name, "hub", 224, "crop"), CPU)]
)
def test_an_unknown_name_is_answered_with_the_nearest(load):
    with pytest.raises(VisionError, match=r"unknown encoder; got: dinov3_vitb61; .*nearest: dinov3_vitb16"):
        load("dinov3_vitb61")


def test_a_yaml_leads_to_weights_beside_it_and_says_size_and_fit(tmp_path, monkeypatch):
    model = timm.create_model("vit_small_patch16_dinov3", num_classes=0, img_size=64, **TINY)
    monkeypatch.setattr("wm_core.vision.timm_encoder._create", lambda config, name, architecture: model)
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    (tmp_path / "own.yaml").write_text("{name: dinov3_vits16, weights: own.safetensors, size: 64, fit: crop}")
    encoder = load_encoder(str(tmp_path / "own.yaml"), CPU)
    assert (encoder.name, encoder.preprocessing.size, encoder.preprocessing.fit) == ("dinov3_vits16", 64, "crop")
    wide = torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8)
    torch.testing.assert_close(encoder(wide).patches, encoder(wide[..., 32:96]).patches)
    (tmp_path / "own.yaml").write_text("{name: dinov3_vits16, weights: none.safetensors, size: 64, fit: crop}")
    with pytest.raises(VisionError, match=rf"does not exist; got: {tmp_path}/none\.safetensors"):
        load_encoder(str(tmp_path / "own.yaml"), CPU)


def test_bare_weights_are_answered_with_the_yaml_that_names_them(saved):
    with pytest.raises(VisionError, match=r"unknown encoder; .*a YAML such as config/encoder_dinov3\.yaml.* mend: .*named in a YAML"):
        load_encoder(saved(tiny("vit_small_patch16_dinov3", 64)), CPU)


def test_every_name_is_one_that_timm_has_weights_for():
    known = timm.list_pretrained("vit*dino*")
    assert set(MODELS.values()) <= set(known)
