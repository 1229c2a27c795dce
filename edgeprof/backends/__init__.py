"""How a network is executed: real runtimes through the worker, and the simulated one."""
