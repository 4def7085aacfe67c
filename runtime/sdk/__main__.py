"""``python -m runtime.sdk FILE``: execute one run of the worker in FILE in a fresh interpreter."""

import sys

from runtime import sdk

sys.exit(sdk.main())
