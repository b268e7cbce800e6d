/* SPDX-License-Identifier: Apache-2.0
 *
 * Parquet, Arrow and HDF5: formats that the Python package reads. It is asked to lay such a file out as an .npy with
 * ids and names beside it, in a private folder, which the command then reads as any other and removes at once. */
#ifndef KITH_CLI_FOREIGN_H
#define KITH_CLI_FOREIGN_H

#include "command.h"

#include <stdbool.h>

/* "Parquet", "Arrow" or "HDF5", by suffix or first bytes, also of "file::part"; NULL for everything else. */
const char *foreign_format(const char *path);

/* Files in a private folder: what options.ids_path and names_path may become, NULL where there are none. */
struct foreign {
    char *folder, *vectors, *ids, *names;
};

/* Have `path`, of that format, laid out. columns: --id-column and --name-column, NULL without. 0, or an exit code after
 * a sentence on stderr; foreign_end() is due in either case. */
int foreign_begin(struct foreign *foreign, const char *path, const char *format, const char *const columns[2],
                  bool bits);
/* Remove the files. Whoever has them open keeps them. */
void foreign_end(struct foreign *foreign);

#endif
