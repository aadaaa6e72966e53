# SPDX-License-Identifier: Apache-2.0
"""Compression for results."""
