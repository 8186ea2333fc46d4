"""crypto-pipeline, for people: a file for each command."""


def main() -> None:
    """Run the command line; Ctrl-C while it is being loaded is no error either."""
    try:
        from crypto_pipeline.cli.main import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
