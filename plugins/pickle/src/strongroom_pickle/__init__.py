# SPDX-License-Identifier: Apache-2.0
"""Pickle, for values that nothing else can keep."""
