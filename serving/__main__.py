"""`python -m serving` with the flags of `tensorflow_model_server`."""

import sys

from serving.server.main import main

if __name__ == "__main__":
    sys.exit(main())
