# SPDX-License-Identifier: Apache-2.0
"""Which place do the settings name that keys come from?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._plugins import installed_plugins
from strongroom.keyring import KEYRING_FILE, DescriptorKeys, EnvironmentKeys, KeyFile

if TYPE_CHECKING:
    from strongroom._settings import Settings
    from strongroom.abc import KeySource

__all__ = ["key_source"]


def key_source(settings: Settings) -> KeySource:
    """The source of the setting ``keys.source``: a built-in one, or a plugin's.

    Raises:
        MissingPluginError: there is none of that name.
    """
    keys = settings.keys
    if keys.source == KeyFile.id:
        return KeyFile(settings.home / KEYRING_FILE)
    if keys.source == EnvironmentKeys.id:
        return EnvironmentKeys()
    if keys.source == DescriptorKeys.id:
        return DescriptorKeys(keys.descriptor)
    return installed_plugins(settings.plugins.allow).key_source(keys.source, keys.url, settings.home)
