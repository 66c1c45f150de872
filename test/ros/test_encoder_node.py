"""Protects the encoder node: latents are those of the encoder, with the image's stamp, and garbage costs one message, not the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from arm_system import ArmSystem
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image

from wm_core.vision.embedded import MomentNetwork, save_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.onnx_encoder import export_onnx
from wm_core.vision.preprocessing import Preprocessing
from wm_ros.images import compressed_message, compressed_picture, image_message
from wm_ros.latents import LatentError, latent_message, latents
from wm_ros.msg import LatentFrame

SIZE = 32
START_UP = 90.0  # s; a process that imports torch on a busy machine
PICTURE = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FrozenEncoder]:
    torch.manual_seed(0)
    network = MomentNetwork(8, 2, 8, 8, 8)
    preprocessing = Preprocessing(SIZE, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    made = FrozenEncoder("embedded-test", network.build(SIZE), preprocessing, torch.device("cpu"))
    folder = tmp_path_factory.mktemp("encoder") / "e"
    save_embedded(folder, made, network, {})
    return folder, made


def tokens(encoder: FrozenEncoder, picture: np.ndarray) -> torch.Tensor:
    return encoder(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]).patches[0]


@pytest.mark.parametrize(("transport", "exported"), [("raw", False), ("compressed", False), ("raw", True)])
def test_latents_are_what_the_encoder_sees(
    transport: str, exported: bool, encoder: tuple[Path, FrozenEncoder], new_system: Callable[[], ArmSystem], tmp_path: Path
) -> None:
    source, made = encoder
    if exported:
        source = tmp_path / "encoder.onnx"
        export_onnx(made, source)
    system = new_system()
    heard: list[LatentFrame] = system.observer.hear(LatentFrame, "/latents")
    system.start("encoder", encoder=str(source), transport=transport)
    kind, topic = (Image, "/image_raw") if transport == "raw" else (CompressedImage, "/image_raw/compressed")
    send = system.observer.sender(kind, topic)
    stamp = Time(sec=12, nanosec=34)
    message = image_message(PICTURE, "cam", stamp) if transport == "raw" else compressed_message(PICTURE, "cam", stamp)
    system.observer.until(lambda: send(message) or heard, lambda: f"a latent frame; {system.said()}", START_UP)
    seen = heard[0]
    assert (seen.header.stamp, seen.header.frame_id) == (stamp, "cam")
    assert (seen.encoder, seen.encoder_hash) == (made.name, made.weight_hash)
    picture = PICTURE if isinstance(message, Image) else compressed_picture(message)
    torch.testing.assert_close(latents(seen), tokens(made, picture), atol=2e-3, rtol=2e-3)


def test_garbage_is_reported_and_the_node_goes_on(encoder: tuple[Path, FrozenEncoder], new_system: Callable[[], ArmSystem]) -> None:
    system = new_system()
    heard = system.observer.hear(LatentFrame, "/latents")
    diagnostics: list[DiagnosticArray] = system.observer.hear(DiagnosticArray, "/diagnostics")
    system.start("encoder", encoder=str(encoder[0]))
    send = system.observer.sender(Image, "/image_raw")
    wrong = image_message(np.zeros((SIZE, 2 * SIZE, 3), np.uint8), "cam", Time())
    truncated = image_message(PICTURE, "cam", Time())
    truncated.data = truncated.data[:100]
    unknown = image_message(PICTURE, "cam", Time())
    unknown.encoding = "bayer_rggb8"

    def faults() -> str:
        own = [s for m in diagnostics for s in m.status if s.name == "/encoder: images" and s.level == DiagnosticStatus.ERROR]
        return " ".join(status.message for status in own)

    for bad, word in ((wrong, "another size"), (truncated, "does not hold"), (unknown, "unknown encoding")):
        system.observer.until(lambda bad=bad, word=word: send(bad) or word in faults(), f"the fault '{word}'", START_UP)  # type: ignore[misc]
    assert not heard
    system.observer.until(lambda: send(image_message(PICTURE, "cam", Time(sec=1))) or heard, "a latent frame after the garbage")


def test_an_encoder_that_is_not_there_is_refused(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    system = new_system()
    diagnostics: list[DiagnosticArray] = system.observer.hear(DiagnosticArray, "/diagnostics")
    system.start("encoder", encoder=str(tmp_path / "none"))

    def fault() -> str:
        return " ".join(s.message for m in diagnostics for s in m.status if s.name == "/encoder: lifecycle")

    system.observer.until(lambda: "unknown encoder" in fault(), "the fault is named", within=40.0)
    assert "dinov3_vitb16" in fault()


def test_a_message_that_does_not_hold_what_it_says(encoder: tuple[Path, FrozenEncoder]) -> None:
    made = encoder[1]
    message = latent_message(tokens(made, PICTURE), made, "cam", Time())
    torch.testing.assert_close(latents(message), tokens(made, PICTURE), atol=2e-3, rtol=2e-3)
    message.dim = 7
    with pytest.raises(LatentError, match="two bytes for every number"):
        latents(message)
    with pytest.raises(LatentError, match="does not hold"):
        latents(LatentFrame())
    poisoned = latent_message(torch.full((16, 8), float("nan")), made, "cam", Time())
    with pytest.raises(LatentError, match="not finite"):
        latents(poisoned)
