"""Protects exported encoders: onnxruntime gives torch's tokens to 1e-3 for any batch, under the same hash; other files are refused."""

import onnx
import pytest
import timm
import torch

from wm_core.errors import VisionError
from wm_core.vision.encoder import FrozenEncoder
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
