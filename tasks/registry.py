"""Where the catalog's workers register themselves; `tasks.workers` is this, complete."""

from workerqueue import Workers

workers = Workers()
