# SPDX-License-Identifier: Apache-2.0
"""Measures `kith serve`: how many queries a second a core answers, how long each takes at which load, what HTTP adds to
the library, and what becomes of all that when there is too much to do.

One processor serves, another one loads: both are said to the system, so that neither takes the other's time."""
