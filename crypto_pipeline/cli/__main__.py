"""python -m crypto_pipeline.cli"""

from crypto_pipeline.cli import main

main()
