"""python -m crypto_pipeline.cli"""

from crypto_pipeline.cli.main import main

main()
