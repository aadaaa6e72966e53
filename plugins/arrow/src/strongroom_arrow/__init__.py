# SPDX-License-Identifier: Apache-2.0
"""Tables, frames and arrays as Arrow."""
