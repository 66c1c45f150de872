"""A process that runs graphs for another one: `python -m wm_core.world_model.engine_worker DESCRIPTOR`. It loads no torch.

A request is three messages: the graph's name, its bytes (empty where it was sent before), its inputs as safetensors. The answer is two:
an error's text (empty: none) and the frames as safetensors.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

import onnxruntime
from safetensors.numpy import load, save


def serve(link: Connection) -> None:
    """Answer until the other side is gone."""
    sessions: dict[bytes, onnxruntime.InferenceSession] = {}
    while True:
        try:
            name, graph, feed = link.recv_bytes(), link.recv_bytes(), link.recv_bytes()
        except EOFError:
            return
        try:
            if graph:
                sessions[name] = session(graph, threads=1)
            answer = save({"frames": sessions[name].run(["frames"], load(feed))[0]})
        except Exception as error:  # noqa: BLE001 whatever it is, the one who asked is told
            link.send_bytes(str(error).encode() or b"error")
            link.send_bytes(b"")
            continue
        link.send_bytes(b"")
        link.send_bytes(answer)


def session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A graph that is ready to run on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the one who asks, who then closes the link
    serve(Connection(int(sys.argv[1])))
