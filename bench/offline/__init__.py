# SPDX-License-Identifier: Apache-2.0
"""Joins on clusters of one machine, beside `kith join` and beside Faiss on the same engine."""
