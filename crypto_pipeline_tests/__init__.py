"""The tests of crypto_pipeline, and the upstream they and the demo ask instead of the internet."""
