"""Node `encoder`: camera images in, tokens of a frozen encoder out."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from wm_core.cli import shipped
from wm_core.errors import WmError
from wm_core.vision.encoding_config import EncodingConfig
from wm_core.vision.load import load_encoder
from wm_ros import process
from wm_ros.diagnostics import Stream
from wm_ros.images import Picture, compressed_picture, picture
from wm_ros.latents import latent_message
from wm_ros.lifecycle import WmNode, status
from wm_ros.msg import LatentFrame

STALE = 1.0  # s; a camera that is silent for longer is reported


class EncoderNode(WmNode[EncodingConfig]):
    """Encodes the newest image; what arrives meanwhile is skipped, so that latents are never older than one image."""

    def __init__(self) -> None:
        super().__init__("encoder", EncodingConfig, "encoder.yaml")

    def configure(self, config: EncodingConfig) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self._encoder = load_encoder(config.encoder or str(shipped.model("encoder")), config.torch_device(), config.torch_precision())
        self._warm_up()
        self._images, self._milliseconds, self._refused = Stream(), 0.0, ""
        self._latents = self.create_publisher(LatentFrame, "latents", 10)

    def activate(self) -> None:
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        if self._known().transport == "raw":
            self.create_subscription(Image, "image_raw", lambda message: self._encode(message, lambda: picture(message)), newest)
        else:
            topic = "image_raw/compressed"
            self.create_subscription(
                CompressedImage, topic, lambda message: self._encode(message, lambda: compressed_picture(message)), newest
            )

    def cleanup(self) -> None:
        self.destroy_publisher(self._latents)

    def diagnose(self) -> list[DiagnosticStatus]:
        now = self._steady.now().nanoseconds * 1e-9
        age, rate = self._images.age(now), self._images.rate(now)
        fault = self._refused or (f"no image for {age:.1f} s" if self.active and age > STALE else "")
        level = DiagnosticStatus.ERROR if fault else DiagnosticStatus.OK
        known = f"{self._encoder.name} {self._encoder.weight_hash[:12]}"
        numbers = {"rate": f"{rate:.1f}", "milliseconds": f"{self._milliseconds:.1f}", "encoder": known}
        return [status(self, "images", level, fault or "encoding", **numbers)]

    def _warm_up(self) -> None:
        """The first pass of a network takes longest; it is better spent before a picture waits for it."""
        size = self._encoder.preprocessing.size
        self._encoder(torch.zeros(1, 3, size, size, dtype=torch.uint8))

    def _encode(self, message: Image | CompressedImage, read: Callable[[], Picture]) -> None:
        self._images.arrived(self._steady.now().nanoseconds * 1e-9)
        if self._latents.get_subscription_count() == 0:
            return
        began = time.perf_counter()
        try:
            frames = torch.from_numpy(np.ascontiguousarray(read().transpose(2, 0, 1)))[None]
            tokens = self._encoder(frames).patches[0]
        except WmError as error:
            self._refused = str(error)
            self.get_logger().error(self._refused, throttle_duration_sec=2.0)
            return
        self._refused, self._milliseconds = "", 1e3 * (time.perf_counter() - began)
        self._latents.publish(latent_message(tokens, self._encoder, message.header.frame_id, message.header.stamp))


def main() -> None:
    """Run the node."""
    process.run(EncoderNode)
