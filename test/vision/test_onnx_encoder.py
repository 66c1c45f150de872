"""Protects exported encoders: onnxruntime gives torch's tokens to 1e-3 for any batch, under the same hash; other files are refused.

And that `wm export-encoder` makes one which stands in for the encoder it came from, wherever an encoder is named.
"""

import onnx
import pytest
import timm
import torch

from wm_core.cli.main import main
from wm_core.errors import VisionError
from wm_core.vision.embedded import save_embedded
from wm_core.vision.encoder import FrozenEncoder, require_network, require_same
from wm_core.vision.load import load_encoder
from wm_core.vision.onnx_encoder import OnnxEncoder, export_onnx
from wm_core.vision.preprocessing import Preprocessing
from wm_core.vision.timm_encoder import TimmBackbone

CPU = torch.device("cpu")


def assert_equal_tokens(encoder, exported, frames):
    assert (exported.name, exported.weight_hash) == (encoder.name, encoder.weight_hash)
    assert (exported.grid, exported.dim, exported.preprocessing) == (encoder.grid, encoder.dim, encoder.preprocessing)
    for count in (1, len(frames)):
        wanted, got = encoder(frames[:count]), exported(frames[:count])
        torch.testing.assert_close(got.patches, wanted.patches, atol=1e-3, rtol=0)
        torch.testing.assert_close(got.cls, wanted.cls, atol=1e-3, rtol=0)


def test_an_embedded_encoder_gives_the_same_tokens(tmp_path, encoder, frames):
    export_onnx(encoder, tmp_path / "encoder.onnx")
    assert_equal_tokens(encoder, OnnxEncoder(tmp_path / "encoder.onnx"), frames)


def test_a_dinov3_gives_the_same_tokens_for_pictures_of_another_size(tmp_path):
    model = timm.create_model("vit_small_patch16_dinov3", num_classes=0, img_size=64, embed_dim=24, depth=1, num_heads=2)
    preprocessing = Preprocessing(64, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    encoder = FrozenEncoder("dinov3", TimmBackbone(model), preprocessing, CPU)
    export_onnx(encoder, tmp_path / "encoder.onnx")
    frames = torch.randint(0, 256, (3, 3, 90, 120), dtype=torch.uint8)
    assert_equal_tokens(encoder, OnnxEncoder(tmp_path / "encoder.onnx"), frames)


def test_files_and_providers_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(VisionError, match="cannot be read"):
        OnnxEncoder(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x09broken")
    with pytest.raises(VisionError, match="cannot be read"):
        OnnxEncoder(tmp_path / "broken.onnx")
    with pytest.raises(VisionError, match="nearest: CPUExecutionProvider"):
        OnnxEncoder(tmp_path / "none.onnx", provider="CPUExecutor")


def test_an_onnx_file_that_is_no_encoder_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "other", [value], [result])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), tmp_path / "other.onnx")
    with pytest.raises(VisionError, match=r"not an exported encoder; got: .* without name, weight_hash"):
        OnnxEncoder(tmp_path / "other.onnx")


def test_a_half_precision_encoder_is_not_exported(tmp_path, network, preprocessing):
    with pytest.raises(VisionError, match="only a float32 encoder"):
        export_onnx(FrozenEncoder("tiny", network.build(32), preprocessing, CPU, torch.bfloat16), tmp_path / "encoder.onnx")


def test_a_graph_that_does_not_hold_for_other_pictures_is_not_left_there(tmp_path, encoder, monkeypatch):
    whole = encoder.backbone.forward

    def depends(pixels):
        tokens = whole(pixels)
        return tokens if float(pixels.std()) > 0.5 else type(tokens)(tokens.patches + 1.0, tokens.cls)

    monkeypatch.setattr(encoder.backbone, "forward", depends)
    with pytest.raises(VisionError, match=r"cannot be exported: its tokens differ; got: [01]\."):
        export_onnx(encoder, tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def file(tmp_path, encoder, network, capsys):
    """What the verb made of an embedded encoder."""
    save_embedded(tmp_path / "encoder", encoder, network, {})
    assert main(["export-encoder", str(tmp_path / "encoder"), "--out", str(tmp_path / "made" / "encoder.onnx")]) == 0
    assert f"tiny {encoder.weight_hash[:12]}" in capsys.readouterr().out
    return tmp_path / "made" / "encoder.onnx"


def test_what_the_verb_writes_stands_in_for_the_encoder(file, encoder, frames):
    loaded = load_encoder(str(file), CPU)
    assert_equal_tokens(encoder, loaded, frames)
    require_same(loaded, encoder.weight_hash, "a checkpoint")
    with pytest.raises(VisionError, match=r"an export needs the network itself; got: tiny as an exported file"):
        require_network(loaded, "an export")
    with pytest.raises(VisionError, match=r"computes in float32; got: torch\.bfloat16; .*mend: set precision: fp32"):
        load_encoder(str(file), CPU, torch.bfloat16)


def other_weights(model):
    raw = bytearray(model.graph.initializer[0].raw_data)
    raw[0] ^= 1
    model.graph.initializer[0].raw_data = bytes(raw)


def other_name(model):
    next(prop for prop in model.metadata_props if prop.key == "name").value = "tinier"


def other_preprocessing(model):
    prop = next(prop for prop in model.metadata_props if prop.key == "preprocessing")
    prop.value = prop.value.replace("exact", "crop")


def second_seal(model):
    model.metadata_props.add(key="note", value="mine")


@pytest.mark.parametrize("change", [other_weights, other_name, other_preprocessing, second_seal])
def test_a_file_that_was_changed_is_refused(file, change):
    model = onnx.load(file)
    change(model)
    onnx.save(model, file)
    with pytest.raises(VisionError, match=r"changed after its export; .*mend: export it again"):
        load_encoder(str(file), CPU)


def test_only_a_file_that_can_be_recognised_is_written(tmp_path, encoder):
    with pytest.raises(VisionError, match=r"known by its ending; got: .*encoder\.bin; allowed: \*\.onnx"):
        export_onnx(encoder, tmp_path / "encoder.bin")
    assert not list(tmp_path.iterdir())
