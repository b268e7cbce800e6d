# SPDX-License-Identifier: Apache-2.0
"""Measure kith beside other libraries of nearest neighbours, on one machine, in one run: `python -m peers --help`.

libraries/   one adapter a library, in the shape of ann-benchmarks' BaseANN, with the settings that are swept
base/        BaseANN itself, where ann-benchmarks has it, so that an adapter file serves in both places unchanged
datasets     data sets: pictures, word vectors, .npy, .hdf5, and a generator of clustered vectors
truth        exact answers, computed once and kept, and recall that counts by distance, so that ties are no misses
worker       one library in one process
resident     what of an index of kith are the vectors as they were given
filters      the same with filters that leave some of the rows; filters_report: their tables
runner       starts the workers, lets them take turns, and writes JSON
frontier     the best of what each library reached, interpolated at given recalls
marks        what single queries were to reach, held against results
choosing     kith's own types of indexes beside each other, for docs/choosing.md
plot, report SVG pictures and Markdown tables from the JSON
tests/       of all that is not a library
install      the virtual environment, one package after another
"""
