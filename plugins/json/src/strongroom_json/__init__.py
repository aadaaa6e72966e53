# SPDX-License-Identifier: Apache-2.0
"""JSON that returns what it was given, type for type."""
