"""crypto-pipeline: the command line, one module a command."""
