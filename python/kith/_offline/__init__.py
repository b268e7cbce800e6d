# SPDX-License-Identifier: Apache-2.0
"""What kith.ray and kith.spark share: builds and joins that an engine of batches carries out.

engine.py says what an engine must do, building.py and joining.py say it what to do. What travels to workers are small
objects that are called with an iterator of Arrow batches and give another one; an index never travels, its path does.
Needs pyarrow, and fsspec for paths that are no files of this machine.

B1. A task is a function of its input: run twice, after a worker died, it gives the same rows, and files of the same
    bytes under the same names. So an engine may try again as it likes.
B2. What is refused names its row, counted from 0, and the file where there is one, or the id.
B3. Nothing is decided by the number or the order of tasks: exact answers are those of one index of all items, to the
    bit."""
