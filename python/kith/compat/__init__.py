# SPDX-License-Identifier: Apache-2.0
"""Front ends with the names and conventions of other libraries: `kith.compat.faiss`, `kith.compat.hnswlib`.

They are for scripts that exist: change one import, and the answers are exact. docs/python-compat.md says what is
accepted and what differs.
"""
