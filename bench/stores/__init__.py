# SPDX-License-Identifier: Apache-2.0
"""Measure a collection beside other stores of vectors that change, in one run: `python -m stores --help`.

drivers/   one file a store: how it is made, written, searched, filtered, closed; and what it does not offer
data       vectors of unit length with three fields, the filters on them, and the true answers
rows/      what is measured, one function a row of the table: writing, searching, changing, keeping
worker     one store in one process
runner     starts the workers, lets them take turns, and writes JSON
marks      the rows of the table: their names, units, and what kith set itself to reach
report     the table and the section of the page, from the JSON
picture    an SVG of it
tests/     of all that is not a store of others

The arithmetic (truth, frontier), the machine, pictures and installing are those of bench/peers.
"""
