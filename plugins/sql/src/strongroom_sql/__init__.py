# SPDX-License-Identifier: Apache-2.0
"""The record of runs in an SQL database."""
