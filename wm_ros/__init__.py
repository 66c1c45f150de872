"""The nodes; the path is extended so that the generated wm_ros.msg and wm_ros.srv import even where another folder holds them."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
