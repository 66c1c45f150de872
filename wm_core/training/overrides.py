"""Settings given on a command line in place of a file's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from wm_core import configuration
from wm_core.errors import ConfigurationError


def overridden[Config](config: Config, overrides: Sequence[str]) -> Config:
    """`config` with each `a.b=value`, value in YAML, validated as if it stood in the file."""
    changes: dict[str, Any] = {}
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator:
            raise ConfigurationError("an override has no value", got=override, allowed="name=value, e.g. steps=2000")
        try:
            changes[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError("the value of an override is not YAML", got=override, mend="quote it") from error
    return configuration.replace_flat(config, changes, "the command line")
