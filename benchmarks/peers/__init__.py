"""The same workloads on other queues, each run by its own worker in an environment of its own."""
