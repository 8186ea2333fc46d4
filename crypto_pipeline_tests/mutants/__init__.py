"""make mutants: one operator or constant changed at a time, and whether the tests notice.

made   the mutants of a module: poodle's of Python, our own of the SQL in strings
asked  the tests of a module, asked about one mutant in a copy of the project
"""
